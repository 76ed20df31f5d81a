"""Compose files and Dockerfiles, judged by Docker's own Compose and by hadolint, without a container engine."""
