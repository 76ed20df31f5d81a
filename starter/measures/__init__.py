"""What `starter.evaluate` measures, one module a model."""
