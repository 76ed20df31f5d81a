"""Signs of other programs in prompts, which the models here would read as letters."""

import re
from collections.abc import Iterable, Iterator, Mapping

from configs.documents.problems import some_of

_NUMBER = r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
_FOREIGN = re.compile(
    rf"(?P<weights>[(\[][^()\[\]]*:\s*{_NUMBER}\s*[)\]]|\(\([^()]+\)\))"
    r"|(?P<files><(?:lora|lyco|hypernet):[^<>]+>|\bembedding:[\w.-]+)"
    r"|(?P<parts>\bBREAK\b)"
    r"|(?P<choices>\{[^{}|]*\|[^{}]*\}|\{[0-9-]+\$\$|__[\w./*-]+?__)"
)
_READ_AS_LETTERS = "is no {} to the models here, which read it as letters"
_SAID: Mapping[str, str] = {
    "weights": _READ_AS_LETTERS.format("weight"),
    "files": _READ_AS_LETTERS.format("model or embedding"),
    "parts": _READ_AS_LETTERS.format("break"),
    "choices": "is no choice without the job's `dynamic_prompts: true`, and is read as letters",
}
_LENGTH = 60  # of a sign, characters


def remarks(prompts: Iterable[tuple[str, str]], *, expanded: bool) -> Iterator[str]:
    """Yield a notice for each kind of sign in these prompts, which come with words for whose they are.

    `expanded`: choices have been made, and what looks like one is meant as it is written.
    """
    found: dict[str, dict[str, str]] = {}  # kind -> whose prompt has it -> as it is written there
    last, kinds = "", dict[str, str]()
    for whose, prompt in prompts:
        if prompt != last:  # the prompts of an item's seeds are one
            last, kinds = prompt, {str(match.lastgroup): match[0] for match in reversed([*_FOREIGN.finditer(prompt)])}
        for kind, sign in kinds.items():
            found.setdefault(kind, {}).setdefault(whose, sign)
    for kind, by_prompt in found.items():
        if kind != "choices" or not expanded:
            sign = next(iter(by_prompt.values()))[:_LENGTH]
            count = f"{len(by_prompt):,} {'prompt' if len(by_prompt) == 1 else 'prompts'}"
            yield f"`{sign}` {_SAID[kind]}: in {count} ({some_of([*by_prompt])})"
