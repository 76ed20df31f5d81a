"""How the sprites are drawn: shapes, a canvas that keeps the exact alpha, objects and backgrounds by name."""
