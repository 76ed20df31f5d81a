"""Logs, metrics and failures of processes."""
