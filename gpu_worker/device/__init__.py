"""The device: resident models, memory, batch sizes and telemetry."""
