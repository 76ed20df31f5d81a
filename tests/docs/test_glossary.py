"""The glossary and the names in the code agree: no word without a name, no class without a word."""

import ast
import re
from collections.abc import Iterator

import pytest

from configs.catalogues import catalogue
from tests.support import ROOT
from tests.wording import CORE

pytestmark = pytest.mark.parts  # reads all of the core

WORDS = re.findall(
    r"^\| ([a-z][a-z -]+) \| ", (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8"), re.MULTILINE
)

# Terms of programming and of the libraries in use, which need no entry.
STANDARD = set(
    re.findall(
        r"\w+",
        """
        access address answer api back backend background block builder cache change check choice classifier clip clock
        compiler configuration console context count damage data database difference diffusion document draft
        encoding end entry failure fault field file fleet forecast form format frame grid group handler head host id
        image input key kind label line list load loader location log loop loss match measure metric name node
        object operation option origin override part pass phase pick place placement plan preloader problem progress
        reader redactor ref reference rejection repetition reply reporter repository request requirement result
        return row rule run runtime sample sampling schedule schema scope score server session size source spec
        stage stamp start state stats status stream summary supervisor switch table tally template text time tone
        trace traits tree turn upscaler url value variable view wait walk warning watch window work
        """,
    )
)
# Operations, recipe fields and formats, which read as verbs or phrases.
PHRASES = {"BestOf", "OnDemand", "OnFail", "WhyNot", "OnlyForThisMachine"}
PHRASES |= {"Distinct", "Repeat"}
# Names to be replaced by words of the glossary.
OLD = {"ChildKeeper", "Explainer", "Rerecord"}
PARTICIPLES = {"chosen", "found", "known", "made", "rebuilt", "unknown"}  # besides those in -ed


def class_names() -> Iterator[str]:
    """Yield the names of the core's public classes that are not exceptions, which are named after what is wrong."""
    for layer in CORE:
        for path in sorted((ROOT / layer).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_") and not _is_exception(node):
                    yield node.name


def _is_exception(node: ast.ClassDef) -> bool:
    bases = {base.id if isinstance(base, ast.Name) else getattr(base, "attr", "") for base in node.bases}
    return any(re.search(r"Error$|Exception$|^InvalidInput$|Refused$|Lost$", name) for name in {node.name, *bases})


def split(name: str) -> list[str]:
    """Return the lower-case words of a name in CamelCase or snake_case."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)]


def singular(word: str) -> str:
    """Return a noun in the singular, as far as adding or dropping letters tells."""
    for ending, instead in (("ies", "y"), ("ches", "ch"), ("xes", "x"), ("sses", "ss"), ("s", "")):
        if word.endswith(ending) and not word.endswith(("ss", "us", "is")):
            return word.removesuffix(ending) + instead
    return word


def last_noun(name: str) -> str | None:
    """Return the last word of a class's name in the singular, or None if it is a participle alone."""
    words = split(name)
    while words and (words[-1].endswith("ed") or words[-1] in PARTICIPLES):
        words.pop()
    return singular(words[-1]) if words else None


def names() -> Iterator[str]:
    """Yield the names of the core's folders, modules, classes, functions and fields."""
    for layer in CORE:
        for path in (ROOT / layer).rglob("*"):
            yield path.stem
            if path.suffix == ".py":
                for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                    if isinstance(node, ast.ClassDef | ast.FunctionDef):
                        yield node.name
                    elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                        yield node.target.id


def test_every_class_is_named_by_a_word_of_the_glossary_or_a_standard_one():
    known = {singular(word) for words in WORDS for word in words.split()} | {singular(word) for word in STANDARD}
    steps = {path.stem for path in (ROOT / "steps").glob("*.py")} | set(catalogue.names("steps"))
    nouns = {name: last_noun(name) for name in class_names() if name.lower() not in steps and name not in PHRASES | OLD}
    assert {name: noun for name, noun in nouns.items() if noun is not None and noun not in known} == {}


def test_every_word_of_the_glossary_occurs_in_the_code():
    used = {singular(word) for name in names() for word in split(name)}
    assert [words for words in WORDS if not all(singular(word) in used for word in words.split())] == []
