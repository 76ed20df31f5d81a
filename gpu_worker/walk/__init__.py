"""An item's path through the recipe, without torch and Prefect."""
