"""Jobs before they run: the checked request, the plan, and the beginning of a run."""
