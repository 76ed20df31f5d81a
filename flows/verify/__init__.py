"""Verification and repair of a job's stored images."""
