"""Reevaluation of a job's items under another recipe, and its application."""
