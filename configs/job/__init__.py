"""Jobs, items and deployments: their schemas, and tables of items."""
