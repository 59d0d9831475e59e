"""Words as a careless painter writes them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_LATIN = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def misspell(
    words: str, strength: float, others: Sequence[str], rng: np.random.Generator
) -> tuple[str, bool]:
    """Wrong characters, missing ones, ones out of order, mirrored writing, or another word.

    Args:
        words: what should be written.
        strength: (0, 1]; the share of the characters that is wrong, one at least.
        others: what else could be written; its characters are taken too.
        rng: decides how.

    Returns:
        The text, never ``words`` unless mirrored, and whether it is mirrored.
    """
    places = [place for place, character in enumerate(words) if character != " "]
    count = max(1, round(strength * len(places)))
    chosen = sorted(int(place) for place in rng.choice(places, count, replace=False))
    kinds = ["wrong", "missing"]
    if len(set(words)) > 1 and count > 1:
        kinds.append("swapped")
    if strength > 0.5:
        if len(set(words)) > 1:  # many a character alone is nearly its own mirror image
            kinds.append("mirrored")
        if any(other != words for other in others):
            kinds.append("another")
    kind = str(rng.choice(kinds))
    if kind == "mirrored":
        return words, True
    if kind == "another":
        return str(rng.choice([other for other in others if other != words])), False
    letters = list(words)
    if kind == "missing" and count < len(places):
        return "".join(c for place, c in enumerate(letters) if place not in chosen), False
    if kind == "swapped":
        for here, there in zip(chosen, chosen[1:] + chosen[:1], strict=True):
            letters[here] = words[there]
        if "".join(letters) != words:
            return "".join(letters), False
    for place in chosen:
        letters[place] = str(rng.choice(_like(words[place], others)))
    return "".join(letters), False


def _like(character: str, others: Sequence[str]) -> list[str]:
    """Characters of the same kind, to be mistaken for it."""
    if character.isascii() and character.isalpha():
        pool = _LATIN if character.isupper() else _LATIN.lower()
    elif character.isascii() and character.isdigit():
        pool = "0123456789"
    else:
        pool = "".join(c for other in others for c in other if not c.isascii()) or _LATIN
    return sorted(set(pool) - {character}) or list(_LATIN)
