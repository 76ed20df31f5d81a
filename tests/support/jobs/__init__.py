"""Finished jobs for tests that read or change them."""
