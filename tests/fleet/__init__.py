"""The fleet of docker/compose.yaml, run without a container engine, with parts of it killed while it works."""
