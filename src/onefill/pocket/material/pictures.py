"""The recipe's raw material: drawings with alpha, photographs, fonts, split once and for all."""

from __future__ import annotations

import colorsys
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFont

from onefill.pocket.material import sources, vocabulary
from onefill.pocket.material.panoramas import read_panorama
from onefill.pocket.material.sources import HELD_OUT, RULER, TRAIN, Split

DRAWING_SIZE = 96
"""Side of a rendered drawing in pixels: above the largest size an object takes in a scene."""

_PHOTOGRAPH_SIDE = 480


@dataclass(frozen=True)
class Pictures:
    """Raw material of one split.

    Attributes:
        drawings: word to RGBA drawings of ``DRAWING_SIZE`` pixels a side.
        photographs: RGB pictures whose shorter side is at most 480 pixels.
        fonts: font files that hold every character of the text words.
        every_colour: things are drawn in the colours kept from training, too.

    """

    drawings: dict[str, list[Image.Image]]
    photographs: list[Image.Image]
    fonts: list[ImageFont.FreeTypeFont]
    every_colour: bool = False


def load_pictures(split: Split, cache: Path) -> Pictures:
    """Fetch what is missing and render one split's material.

    Raises:
        OnefillError: a package could not be fetched.

    """
    return Pictures(
        drawings={c.word: _drawings(c, split, cache) for c in vocabulary.CONCEPTS},
        photographs=[_photograph(p, f, cache) for p, f in sources.PHOTOGRAPHS[split]],
        fonts=[
            ImageFont.truetype(str(sources.folder(p, cache) / f), 64)
            for p, f in sources.FONTS[split]
        ],
        every_colour=split == RULER,
    )


def _drawings(concept: vocabulary.Concept, split: Split, cache: Path) -> list[Image.Image]:
    if not concept.icon:
        seeds = {TRAIN: range(24), HELD_OUT: range(24, 32), RULER: range(32)}[split]
        return [_render(_hot_air_balloon(seed)) for seed in seeds]
    held_out = (vocabulary.HELD_OUT_SET,)
    sets = {
        TRAIN: vocabulary.DRAWING_SETS,
        HELD_OUT: held_out,
        RULER: vocabulary.DRAWING_SETS + held_out,
    }[split]
    found = []
    for name in sets:
        svg = None if name in concept.without else _icon(name, concept.icon, cache)
        if svg is not None:
            found.append(_render(svg))
    return found


_ICON_SETS: dict[str, dict[str, Any]] = {}


def _icon(set_name: str, icon: str, cache: Path) -> str | None:
    """The SVG text of an icon, or None where the set lacks it."""
    if set_name not in _ICON_SETS:
        path = sources.folder(f"@iconify-json/{set_name}", cache) / "icons.json"
        _ICON_SETS[set_name] = json.loads(path.read_text(encoding="utf-8"))
    icons = _ICON_SETS[set_name]
    entry = icons["icons"].get(icons.get("aliases", {}).get(icon, {}).get("parent", icon))
    if entry is None:
        return None
    width = entry.get("width", icons.get("width", 16))
    height = entry.get("height", icons.get("height", 16))
    box = f"{entry.get('left', 0)} {entry.get('top', 0)} {width} {height}"
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="{box}" width="{DRAWING_SIZE}" height="{DRAWING_SIZE}">{entry["body"]}</svg>'
    )


def _render(svg: str) -> Image.Image:
    import resvg_py

    png = resvg_py.svg_to_bytes(svg_string=svg, width=DRAWING_SIZE, height=DRAWING_SIZE)
    return Image.open(io.BytesIO(bytes(png))).convert("RGBA")


def recolour(drawing: Image.Image, colour: str) -> Image.Image:
    """The drawing with every coloured pixel turned to a colour of ``HUES``; white and grey stay.

    Dark pixels are lifted, or yellow would be brown; pink is a pale red.
    """
    hsv = np.array(drawing.convert("RGB").convert("HSV"))
    coloured_there = hsv[..., 1] > 40
    low, high = (90, 135) if colour == "pink" else (170, 255)
    hsv[..., 0] = round(vocabulary.HUES[colour] / 360 * 255)
    hsv[..., 1] = np.where(coloured_there, np.clip(hsv[..., 1], low, high), hsv[..., 1])
    hsv[..., 2] = np.where(coloured_there, 100 + hsv[..., 2] * (155 / 255), hsv[..., 2])
    coloured = Image.fromarray(hsv, "HSV").convert("RGB")
    coloured.putalpha(drawing.getchannel("A"))
    return coloured


def _hot_air_balloon(seed: int) -> str:
    """A striped balloon with a basket; no free set holds several."""
    rng = np.random.default_rng(seed)
    hue = rng.random()

    def colour(h: float, lightness: float) -> str:
        return "#" + "".join(
            f"{int(255 * v):02x}" for v in colorsys.hls_to_rgb(h % 1, lightness, 0.85)
        )

    first = colour(hue, 0.5)
    second = colour(hue + rng.choice([0.15, 0.33, 0.5]), 0.62)
    side = f'width="{DRAWING_SIZE}" height="{DRAWING_SIZE}"'
    ropes = 'stroke="#543" stroke-width="2"'
    whole = "M50 4C24 4 14 24 16 38C18 52 36 62 42 70L58 70C64 62 82 52 84 38C86 24 76 4 50 4Z"
    middle = "M50 4C38 4 32 24 33 38C34 52 42 62 45 70L55 70C58 62 66 52 67 38C68 24 62 4 50 4Z"
    stripe = "M50 4C46 4 45 24 45 38C45 52 48 62 49 70L51 70C52 62 55 52 55 38C55 24 54 4 50 4Z"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 100" {side}>'
        f'<line x1="38" y1="58" x2="43" y2="82" {ropes}/>'
        f'<line x1="62" y1="58" x2="57" y2="82" {ropes}/>'
        f'<path d="{whole}" fill="{first}"/>'
        f'<path d="{middle}" fill="{second}"/>'
        f'<path d="{stripe}" fill="{first}"/>'
        '<rect x="41" y="80" width="18" height="14" rx="3" fill="#8a5a2b"/></svg>'
    )


def _photograph(package: str, file: str, cache: Path) -> Image.Image:
    path = sources.folder(package, cache) / file
    photograph = read_panorama(path) if file.endswith(".js") else Image.open(path).convert("RGB")
    scale = _PHOTOGRAPH_SIDE / min(photograph.size)
    if scale < 1:
        size = (round(photograph.width * scale), round(photograph.height * scale))
        photograph = photograph.resize(size, Image.Resampling.LANCZOS)
    return photograph
