"""Catalogues: steps and engines, gates, models."""
