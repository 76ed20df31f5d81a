"""Documentation pages, and the program that generates their tables (`python -m docs.tables`)."""
