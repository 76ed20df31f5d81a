"""Pixelmill in a dozen tests: read them in order. Everything in them is real; nothing needs a model or a server."""
