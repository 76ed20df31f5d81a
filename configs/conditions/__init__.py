"""Conditions of a recipe: small Python-like expressions over an item and the facts measured on its images.

`text` says which expressions make one, `operators` what values come to, `evaluator` goes through an expression, and a
`condition` is what the rest of the house sees.
"""

from configs.conditions.condition import THIS, Condition, Foresight, Scope, StepStanding
from configs.conditions.text import ITEM_NAMES, ConditionError

__all__ = ["ITEM_NAMES", "THIS", "Condition", "ConditionError", "Foresight", "Scope", "StepStanding"]
