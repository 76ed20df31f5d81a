"""From a recipe's text to a program: classes found, parameters checked, conditions parsed, loops written out.

`compiler` goes through the entries, each in its scope of loops and image sources, and adds visits and decisions to a
`draft`; the `program` is the tree of nodes that it returns, and `revision` describes it for the ledger.
"""

from steps.recipe.compiler import Compiled, compile_recipe, resolve_program

__all__ = ["Compiled", "compile_recipe", "resolve_program"]
