"""Benchmarks and fault tests. Nothing of the product imports from here."""
