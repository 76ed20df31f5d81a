"""Image formats, recipes in image files, and manifests."""
