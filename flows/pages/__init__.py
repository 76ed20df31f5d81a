"""Pages beside the images: gallery and review page."""
