"""Fault tests: jobs of null items that are killed, starved and misled by seeded chance, and checked from outside."""
