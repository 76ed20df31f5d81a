"""Prefect: a local server, work pools and deployments, flow runs and workers."""
