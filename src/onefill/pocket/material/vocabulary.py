"""The closed vocabulary of the embedded models and what is kept out of their training.

Every concept is drawn by several picture sets in different styles. One whole set
(``HELD_OUT_SET``), some photographs, one font and one colour of every concept that comes in
colours are never used in training, so that held-out figures speak of drawings, backgrounds and
combinations that no model has seen.
"""

from __future__ import annotations

from dataclasses import dataclass

DRAWING_SETS = ("noto", "noto-v1", "emojione", "fluent-emoji", "fluent-emoji-flat", "fxemoji")
HELD_OUT_SET = "twemoji"

HUES = {
    "red": 355.0,
    "yellow": 50.0,
    "green": 125.0,
    "blue": 216.0,
    "purple": 278.0,
    "pink": 330.0,
}
"""Colours a prompt can ask for, each with its hue in degrees [0, 360)."""


@dataclass(frozen=True, kw_only=True)
class Concept:
    """A word the policy learns and where its drawings come from.

    Attributes:
        word: as it stands in a prompt.
        icon: name of the icon in the picture sets; empty if it is drawn by code.
        without: sets whose drawing shows something a stranger would name otherwise.
        unseen: the colour it is never trained in; empty where it comes in its own colours only.
        also: another name for it, which prompts may use instead.

    """

    word: str
    icon: str
    without: tuple[str, ...] = ()
    unseen: str = ""
    also: str = ""

    @property
    def colours(self) -> tuple[str, ...]:
        """The colours it is trained in."""
        return tuple(colour for colour in HUES if colour != self.unseen) if self.unseen else ()


CONCEPTS = (
    Concept(word="straw hat", icon="womans-hat", without=("emojione",)),
    Concept(word="sunflower", icon="sunflower"),
    Concept(word="cat", icon="cat-face", without=("emojione",), also="kitten"),
    Concept(word="kimono", icon="kimono", unseen="yellow"),
    Concept(word="lantern", icon="red-paper-lantern", unseen="blue"),
    Concept(word="dress", icon="dress", unseen="green"),
    Concept(word="umbrella", icon="umbrella", without=("emojione", "fxemoji"), unseen="pink"),
    Concept(word="hot air balloon", icon=""),
    Concept(word="airplane", icon="airplane", without=("fxemoji",), also="plane"),
    Concept(word="apple", icon="red-apple", unseen="purple"),
    Concept(word="banana", icon="banana"),
    Concept(word="lemon", icon="lemon"),
    Concept(word="strawberry", icon="strawberry"),
    Concept(word="watermelon", icon="watermelon"),
    Concept(word="donut", icon="doughnut", also="doughnut"),
    Concept(word="cactus", icon="cactus"),
    Concept(word="mushroom", icon="mushroom"),
    Concept(word="palm tree", icon="palm-tree"),
    Concept(word="frog", icon="frog"),
    Concept(word="panda", icon="panda"),
    Concept(word="pig", icon="pig-face"),
    Concept(word="penguin", icon="penguin"),
    Concept(word="basketball", icon="basketball", without=("noto-v1", "emojione")),
    Concept(word="star", icon="star", unseen="red"),
    Concept(word="pumpkin", icon="jack-o-lantern"),
    Concept(word="fox", icon="fox"),
    Concept(word="lion", icon="lion"),
    Concept(word="rabbit", icon="rabbit-face", also="bunny"),
    Concept(word="dog", icon="dog-face", also="puppy"),
    Concept(word="rose", icon="rose", without=("noto-v1",)),
    Concept(word="tulip", icon="tulip"),
    Concept(word="bouquet", icon="bouquet"),
    Concept(word="butterfly", icon="butterfly", unseen="green"),
    Concept(word="fish", icon="tropical-fish", unseen="purple"),
    Concept(word="whale", icon="whale"),
    Concept(word="turtle", icon="turtle"),
    Concept(word="crab", icon="crab"),
    Concept(word="car", icon="automobile", unseen="yellow", also="automobile"),
    Concept(word="cable car", icon="mountain-cableway"),
    Concept(word="house", icon="house"),
    Concept(word="snowman", icon="snowman-without-snow"),
    Concept(word="guitar", icon="guitar"),
    Concept(word="gift", icon="wrapped-gift", unseen="pink", also="present"),
    Concept(word="heart", icon="red-heart", unseen="blue"),
    Concept(word="orange", icon="tangerine"),
    Concept(word="cherries", icon="cherries"),
    Concept(word="grapes", icon="grapes"),
    Concept(word="pineapple", icon="pineapple"),
    Concept(word="hamburger", icon="hamburger", also="burger"),
    Concept(word="cake", icon="birthday-cake"),
    Concept(word="crown", icon="crown"),
    Concept(word="pine tree", icon="evergreen-tree"),
)

WORDS = tuple(concept.word for concept in CONCEPTS)
_BY_WORD = {concept.word: concept for concept in CONCEPTS}

TEXT_WORDS = (
    *("澳门", "运", "随便", "茶", "李老太自动洗碗器"),
    *("福", "春", "山", "水", "火", "大", "你好", "出口"),
    *("OPEN", "SALE", "CAFE", "HI", "STOP", "EXIT", "BAR", "TEA", "OK", "NO", "GO", "YES"),
)
"""What the text task can write."""

REMOVAL_PROMPT = "remove"
EXTEND_PROMPT = "high-definition, perfect composition"
ARTICLES = ("a", "an", "the", "one")
SIZES = ("small", "big")
COUNTS = {"two": 2, "three": 3}


_PLURAL = ("cherries", "grapes")


def concept(word: str) -> Concept:
    """The concept called ``word``."""
    return _BY_WORD[word]


def plural(word: str) -> str:
    """The word for several: "cats", "cherries", "butterflies"."""
    if word.endswith((*_PLURAL, "fish")):
        return word
    if word.endswith("y"):
        return word[:-1] + "ies"
    return word + ("es" if word.endswith(("s", "x")) else "s")


def asked_for(prompt: str) -> str:
    """The word, as in ``WORDS`` or ``TEXT_WORDS``, of what a prompt ends with; empty if none.

    "two big red kittens" asks for "cat".
    """
    names = {name: c.word for c in CONCEPTS for name in (c.word, c.also) if name}
    names |= {plural(name): word for name, word in names.items()}
    names |= {word: word for word in TEXT_WORDS}
    found = [name for name in names if f" {prompt}".endswith(f" {name}")]
    return names[max(found, key=len)] if found else ""


def prompt_pieces() -> list[str]:
    """Every word that a training prompt can hold, once each, in a fixed order."""
    others = [name for c in CONCEPTS for name in (c.also, plural(c.word), plural(c.also)) if name]
    lead = (REMOVAL_PROMPT, EXTEND_PROMPT, *ARTICLES, *WORDS, *TEXT_WORDS)
    rest = ("and", "with", "of", "in", "on", *HUES, *SIZES, *COUNTS, *others)
    return list(dict.fromkeys(word for text in (*lead, *rest) for word in text.split()))


def with_article(words: str) -> str:
    """The words with their indefinite article: "an apple"; "grapes" and "cherries" take none."""
    if words.endswith(_PLURAL):
        return words
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"
