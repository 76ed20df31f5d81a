"""Bursts: a job's parent flow run, its shards, their supervision, and the decisions that it waits for."""
