"""Images in, images and facts out. Knows neither Prefect nor S3 nor SQL."""
