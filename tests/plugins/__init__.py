"""How tests are collected, ordered and watched: hooks of pytest."""
