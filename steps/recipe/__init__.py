"""From a recipe's text to a program: classes found, parameters checked, conditions parsed, loops written out.

`lists` goes through the entries and hands each to the module of its kind: `visits` (steps), `gates` with their
`retries`, `branches`, `loops`. They write operations into a `draft`, and know from their `scope` who comes there.
"""

from steps.recipe.compiler import Compiled, compile_recipe, resolve_program

__all__ = ["Compiled", "compile_recipe", "resolve_program"]
