"""The closed vocabulary of the embedded models and what is kept out of their training.

Every concept is drawn by several picture sets in different styles. One whole set
(``HELD_OUT_SET``), some photographs and one font are never used in training, so that held-out
figures speak of drawings and backgrounds that no model has seen.
"""

from __future__ import annotations

from dataclasses import dataclass

DRAWING_SETS = ("noto", "noto-v1", "emojione", "fluent-emoji", "fluent-emoji-flat", "fxemoji")
HELD_OUT_SET = "twemoji"


@dataclass(frozen=True, kw_only=True)
class Concept:
    """A word the policy learns and where its drawings come from.

    Attributes:
        word: as it stands in a prompt.
        icon: name of the icon in the picture sets; empty if it is drawn by code.
        without: sets whose drawing shows something a stranger would name otherwise.
        hue: None, or the hue in degrees [0, 360) that the drawing is recoloured to.

    """

    word: str
    icon: str
    without: tuple[str, ...] = ()
    hue: float | None = None


CONCEPTS = (
    Concept(word="straw hat", icon="womans-hat", without=("emojione",)),
    Concept(word="sunflower", icon="sunflower"),
    Concept(word="cat", icon="cat-face", without=("emojione",)),
    Concept(word="kimono", icon="kimono"),
    Concept(word="lantern", icon="red-paper-lantern"),
    Concept(word="red dress", icon="dress", hue=352.0),
    Concept(word="umbrella", icon="umbrella", without=("emojione", "fxemoji")),
    Concept(word="hot air balloon", icon=""),
    Concept(word="airplane", icon="airplane", without=("fxemoji",)),
    Concept(word="apple", icon="red-apple"),
    Concept(word="banana", icon="banana"),
    Concept(word="lemon", icon="lemon"),
    Concept(word="strawberry", icon="strawberry"),
    Concept(word="watermelon", icon="watermelon"),
    Concept(word="donut", icon="doughnut"),
    Concept(word="cactus", icon="cactus"),
    Concept(word="mushroom", icon="mushroom"),
    Concept(word="palm tree", icon="palm-tree"),
    Concept(word="frog", icon="frog"),
    Concept(word="panda", icon="panda"),
    Concept(word="pig", icon="pig-face"),
    Concept(word="penguin", icon="penguin"),
    Concept(word="basketball", icon="basketball", without=("noto-v1", "emojione")),
    Concept(word="star", icon="star"),
    Concept(word="pumpkin", icon="jack-o-lantern"),
)

WORDS = tuple(concept.word for concept in CONCEPTS)

TEXT_WORDS = ("澳门", "运", "随便", "茶", "OPEN", "SALE", "CAFE", "HI")
"""What the text task can write: short enough to be read at 64 pixels."""

REMOVAL_PROMPT = "remove"
EXTEND_PROMPT = "high-definition, perfect composition"
ARTICLES = ("a", "an", "the", "one")


def prompt_pieces() -> list[str]:
    """Every word that a training prompt can hold, once each, in a fixed order."""
    words: dict[str, None] = {}
    for text in (REMOVAL_PROMPT, EXTEND_PROMPT, *ARTICLES, *WORDS, *TEXT_WORDS):
        for word in text.split():
            words[word] = None
    for word in ["and", "with", "of", "in", "on", "red", "blue", "green", "yellow", "big", "small"]:
        words[word] = None
    return list(words)


def with_article(word: str) -> str:
    """The word with its indefinite article: "an apple"."""
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"
