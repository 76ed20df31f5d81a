"""Documents: YAML, fields, URIs, and problems with their places."""
