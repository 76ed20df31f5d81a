"""Artefacts in folders or S3, the ledger in SQL, image encoding and metadata."""
