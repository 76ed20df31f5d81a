"""Artefacts in folders or S3."""
