"""What a command has to say when it is done."""

from typing import Any, NamedTuple

from rich.console import RenderableType


class Answer(NamedTuple):
    """To programs, to people and to the shell."""

    document: dict[str, Any]
    text: RenderableType
    exit_status: int
