"""Input files: from disk, S3 and the web."""
