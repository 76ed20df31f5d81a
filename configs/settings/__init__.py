"""Settings of a process, from the environment."""
