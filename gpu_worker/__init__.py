"""The warm worker: device, resident models, micro-batches, and compute overlapped with encode and upload."""
