"""Explanations of items: every decision on an item's path, from recorded facts."""
