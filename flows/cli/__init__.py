"""Commands of `pixelmill`: `main` declares them, each other module does the work of some and prints its result."""
