"""Planted defects: how many of them the gates that come with Pixelmill find, and how often they flag a sound image."""
