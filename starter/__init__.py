"""The starter pack: sprites drawn by code, and the tiny models trained on them, so that the default is real."""
