"""The words of the starter: a CLIP tokenizer whose vocabulary holds them whole and spells everything else in bytes."""

from __future__ import annotations

import itertools
from collections import Counter

from numpy.random import Generator
from tokenizers import pre_tokenizers
from transformers import CLIPTokenizer

from starter.networks import PROMPT_TOKENS
from starter.sprites import BACKGROUNDS, COLORS, OBJECTS, prompt_for

_OTHER_WORDS = ("a", "an", "the", "on", "game", "icon", "background", "of", "with", "and", "in", "picture")
_END = "</w>"

# How often a training prompt has each of the forms of `captions_of`: guidance needs prompts without words, and people
# leave words out.
_SHARES = (0.68, 0.12, 0.06, 0.06, 0.03, 0.05)
# How often a word that means nothing is put in: the model shall draw on when it meets words it does not know.
_STRANGE_SHARE = 0.12


def new_tokenizer() -> CLIPTokenizer:
    """Return a CLIP tokenizer: bytes, bytes that end a word, the merges of our words, and two special tokens."""
    words = sorted({*OBJECTS, *COLORS, *BACKGROUNDS, *_OTHER_WORDS})
    merges = _merges(words)
    byte_letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = [*byte_letters, *(letter + _END for letter in byte_letters), *("".join(pair) for pair in merges)]
    pieces += ["<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(
        vocab={piece: index for index, piece in enumerate(dict.fromkeys(pieces))},
        merges=merges,
        model_max_length=PROMPT_TOKENS,
    )


def _merges(words: list[str]) -> list[tuple[str, str]]:
    """Byte-pair merges (Sennrich et al., arXiv 1508.07909), learned from `words` until each is one piece.

    Equally frequent pairs are merged in alphabetical order. The `tokenizers` library's own trainer takes them in an
    order that changes from run to run, and with it the numbers of the tokens that a model was trained on.
    """
    spelled = [[*word[:-1], word[-1] + _END] for word in words]
    merges: list[tuple[str, str]] = []
    while any(len(pieces) > 1 for pieces in spelled):
        counts = Counter(pair for pieces in spelled for pair in itertools.pairwise(pieces))
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        merges.append(best)
        spelled = [_merged(pieces, best) for pieces in spelled]
    return merges


def _merged(pieces: list[str], pair: tuple[str, str]) -> list[str]:
    merged: list[str] = []
    for piece in pieces:
        if merged and (merged[-1], piece) == pair:
            merged[-1] += piece
        else:
            merged.append(piece)
    return merged


def caption_for(labels: tuple[int, int, int], rng: Generator) -> str:
    """Return a training prompt for (object, color, background) indices: mostly the full one, at times less or more."""
    caption = captions_of(*labels)[int(rng.choice(len(_SHARES), p=_SHARES))]
    if caption and rng.random() < _STRANGE_SHARE:
        words = caption.split(" ")
        words.insert(int(rng.integers(len(words) + 1)), _strange_word(rng))
        caption = " ".join(words)
    return caption


def captions_of(object_index: int, color_index: int, background_index: int) -> list[str]:
    """One caption for each of the six forms."""
    name, color, background = OBJECTS[object_index], tuple(COLORS)[color_index], BACKGROUNDS[background_index]
    full = prompt_for(name, color, background)
    short = full.split(",")[0]
    return [
        full,
        "",
        short,
        f"{short} on a {background} background",
        f"a {name}, game icon, {background} background",
        f"{short}, game icon",
    ]


def _strange_word(rng: Generator) -> str:
    letters = rng.integers(ord("a"), ord("z") + 1, size=int(rng.integers(3, 9)))
    return "".join(chr(letter) for letter in letters)
