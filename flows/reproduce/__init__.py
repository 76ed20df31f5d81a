"""Reproduction of an image from the recipe in its file."""
