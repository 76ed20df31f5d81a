"""Processes of a worker: the Prefect worker, and its child with the device."""
