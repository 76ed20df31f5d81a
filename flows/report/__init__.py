"""Summaries, plans and reports: data, terminal output and Markdown."""
