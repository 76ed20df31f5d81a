"""The benchmarks' null steps in the catalogue for a while, and items for recipes of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from configs.catalogues import catalogue
from configs.documents.fields import Item
from tests.support.null.recipes_at_random import PROMPT


@contextmanager
def null_steps_known() -> Iterator[None]:
    """What is added to the process's catalogue goes again."""
    catalogue.current.cache_clear()
    catalogue.extend([Path(__file__).with_name("catalogue.yaml")])
    yield
    catalogue.current.cache_clear()


def some_items(count: int) -> list[Item]:
    """With the variables that recipes at random ask for."""
    return [
        Item(
            index=index,
            name=f"i{index}",
            prompt=PROMPT,
            seed=index * 7919,
            vars={"kind": "abc"[index % 3], "size": index / count},
        )
        for index in range(count)
    ]


def with_variables(item: Item, **more: Any) -> Item:
    return item.model_copy(update={"vars": {**item.vars, **more}})
