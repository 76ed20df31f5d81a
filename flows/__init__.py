"""Orchestration: plan a job, fan out shards, branch, report; and the command line."""
