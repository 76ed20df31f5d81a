"""Long-running services: galleries, review decisions, metrics, and `pixelmill up`."""
