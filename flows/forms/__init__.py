"""Deployments that people start from a form in Prefect."""
