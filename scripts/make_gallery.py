"""The prompts of OneReward's project page on photographs: start model beside RL-trained model.

python scripts/make_gallery.py --adapter runs/NAME [--cache pocket-cache] [-o FILE.webp]

The photographs are those held out from the recipe (fetched as it fetches them), the boxes were
drawn before anything was painted in them, and every edit has seed 0: nothing is chosen by eye.
What a prompt asks for beyond the model's vocabulary is ignored by it, as `onefill edit` warns.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from pathlib import Path

from pair_pictures import save_sheet
from PIL import Image, ImageDraw, ImageFont

from onefill.cli.app import run
from onefill.pocket.contact_sheet import find_font, label_of
from onefill.pocket.material import sources

TARGET = Path(__file__).parents[1] / "docs" / "images" / "gallery.webp"

FILLS = (
    *("straw hat", "Canton Tower", "Temple of Heaven", "kimono", "a cat", "a big sunflower"),
    *("girl on a bicycle", "red wedding dress", "colorful hot air balloon", "cable car"),
    "two burgundy Chinese style lanterns",
    "holding a bouquet of pale pink roses in her hands",
    *("airplane", "a girl in a red dress holding an umbrella"),
)
TEXTS = ("李老太自动洗碗器", "随便", "澳门", "运")

# Percent of the photograph's middle square: left, top, width, height. One for each photograph in
# the order of ``sources.PHOTOGRAPHS``; fills paint in the first, texts in the second.
BOXES = ("33,30,34,50", "55,28,30,48", "36,12,28,44", "5,45,30,50", "30,25,40,45", "4,4,34,46")
LINES = ("20,10,60,24", "22,60,56,24", "15,12,70,26", "20,68,60,24", "20,36,60,26", "4,70,60,24")

COLUMNS = ("masked", "start model", "trained")
_SIDE, _GAP, _SPACE, _TEXT, _ACROSS = 132, 4, 18, 13, 3
_PAPER, _INK, _FAINT = (255, 255, 255), (20, 20, 20), (110, 110, 110)


def edit(photo: Path, box: str, words: list[str], adapter: Path | None, out: Path) -> Image.Image:
    """One edit by the real command."""
    arguments = ["edit", str(photo), "--box", _percent(box), *words, "--seed", "0", "-o", str(out)]
    if adapter is not None:
        arguments += ["--adapter", str(adapter)]
    if run(arguments):
        raise SystemExit(f"onefill {' '.join(arguments)}: failed")
    with Image.open(out) as result:
        return result.convert("RGB")


def _percent(box: str) -> str:
    return ",".join(f"{part}%" for part in box.split(","))


def masked(picture: Image.Image, box: str) -> Image.Image:
    """The photograph with the box in grey."""
    left, top, width, height = (float(part) / 100 for part in box.split(","))
    across, down = picture.size
    shown = picture.copy()
    corners = (left * across, top * down, (left + width) * across, (top + height) * down)
    ImageDraw.Draw(shown).rectangle(corners, fill=(128, 128, 128))
    return shown


def cell(picture: Image.Image) -> Image.Image:
    """The middle square of a picture, small."""
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    square = picture.crop((left, top, left + side, top + side))
    return square.resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)


def squared(photo: Path, out: Path) -> Path:
    """The photograph's middle square at 480 pixels, so that the sheet shows all of it."""
    with Image.open(photo) as whole:
        picture = whole.convert("RGB")
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    square = picture.crop((left, top, left + side, top + side))
    square.resize((480, 480), Image.Resampling.LANCZOS).save(out)
    return out


def draw(cases: list[tuple[str, list[Image.Image]]]) -> Image.Image:
    """All cases in a grid, three pictures under one label each."""
    font, chinese = ImageFont.load_default(_TEXT), find_font()
    width = len(COLUMNS) * (_SIDE + _GAP) + _SPACE
    height = _TEXT + 8 + _SIDE + _SPACE
    top = 2 * _SPACE
    rows = -(-len(cases) // _ACROSS)
    sheet = Image.new("RGB", (_SPACE + _ACROSS * width, top + rows * height), _PAPER)
    pen = ImageDraw.Draw(sheet)
    for group, (column, name) in itertools.product(range(_ACROSS), enumerate(COLUMNS)):
        pen.text((_SPACE + group * width + column * (_SIDE + _GAP), 12), name, _FAINT, font)
    for number, (label, pictures) in enumerate(cases):
        row, group = divmod(number, _ACROSS)
        x, y = _SPACE + group * width, top + row * height
        text, face = label_of(label, chinese)
        pen.text((x, y), text, _INK, face)
        for column, picture in enumerate(pictures):
            sheet.paste(cell(picture), (x + column * (_SIDE + _GAP), y + _TEXT + 8))
    return sheet


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--adapter", type=Path, required=True, help="folder of a finished run")
    parser.add_argument("--cache", type=Path, default=Path("pocket-cache"))
    parser.add_argument("-o", "--output", type=Path, default=TARGET)
    options = parser.parse_args(arguments)

    found = [
        sources.folder(package, options.cache) / file
        for package, file in sources.PHOTOGRAPHS[sources.HELD_OUT]
    ]
    cases = []
    with tempfile.TemporaryDirectory() as folder:
        shelf = Path(folder)
        photos = [squared(photo, shelf / f"{n}.png") for n, photo in enumerate(found)]
        wishes = [(words, "--prompt", BOXES) for words in FILLS]
        wishes += [(words, "--text", LINES) for words in TEXTS]
        for number, (words, flag, boxes) in enumerate(wishes):
            place = number % len(photos)
            photo, box = photos[place], boxes[place]
            with Image.open(photo) as opened:
                pictures = [masked(opened, box)]
            for name, adapter in (("start", None), ("trained", options.adapter)):
                out = shelf / f"{number}-{name}.png"
                pictures.append(edit(photo, box, [flag, words], adapter, out))
            cases.append((words, pictures))
    save_sheet(draw(cases), options.output, quality=60, method=6)
    print(options.output)


if __name__ == "__main__":
    main()
