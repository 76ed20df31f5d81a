"""Commands of `pixelmill`: `main` declares them, each other module does the work of one and prints its result."""
