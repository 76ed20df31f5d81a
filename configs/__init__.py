"""Typed settings and schemas, and the recipes, models and deployments as YAML. The lowest layer: imports no other."""
