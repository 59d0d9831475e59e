"""Edit photographs of five odd kinds with the real command, as one labelled contact sheet.

python scripts/make_edit_formats_sheet.py [--model NAME|FOLDER] [-o docs/images/edit-formats.jpg]

The photographs are those of scikit-image and scikit-learn, saved here as a camera, a scanner or a
drawing program would. Nothing is chosen by eye: every edit has seed 0. Under each stands what
`onefill edit` left of the file: how many pixels outside mask and band differ (none should).
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageDraw, ImageFont

from onefill.cli.app import run
from onefill.edit.canvas import Canvas
from onefill.edit.decode import open_photo

TARGET = Path(__file__).parents[1] / "docs" / "images" / "edit-formats.jpg"
FEATHER = 6
_CELL, _GAP, _SPACE, _TEXT, _ACROSS = (230, 170), 4, 18, 13, 2
_PAPER, _INK, _FAINT, _RED = (255, 255, 255), (20, 20, 20), (110, 110, 110), (230, 30, 30)


@dataclass(frozen=True)
class Edit:
    """One edit: kind of file, photograph in a package, task, words, and the box to paint.

    The box is in thousandths of the upright picture: left, top, width, height.
    """

    kind: str
    photo: tuple[str, str]
    task: str
    words: str | None
    box: tuple[int, int, int, int]


_ASTRONAUT, _CAT = ("skimage", "data/astronaut.png"), ("skimage", "data/chelsea.png")
_COFFEE, _ROCKET = ("skimage", "data/coffee.png"), ("skimage", "data/rocket.jpg")
_CHINA, _FLOWER = (
    ("sklearn", "datasets/images/china.jpg"),
    ("sklearn", "datasets/images/flower.jpg"),
)

EDITS = (
    Edit("portrait EXIF", _ASTRONAUT, "fill", "straw hat", (230, 10, 400, 160)),
    Edit("portrait EXIF", _ROCKET, "removal", None, (120, 100, 160, 250)),
    Edit("alpha PNG", _CAT, "fill", "sunflower", (40, 600, 200, 300)),
    Edit("alpha PNG", _COFFEE, "removal", None, (760, 330, 150, 250)),
    Edit("palette", _CHINA, "fill", "hot air balloon", (550, 30, 150, 250)),
    Edit("palette", _FLOWER, "removal", None, (30, 600, 200, 300)),
    Edit("CMYK JPEG", _COFFEE, "fill", "cat", (620, 80, 250, 300)),
    Edit("CMYK JPEG", _CAT, "removal", None, (700, 650, 200, 250)),
    Edit("panorama", _CHINA, "fill", "hot air balloon", (80, 100, 90, 450)),
    Edit("panorama", _ROCKET, "text", "OPEN", (100, 300, 150, 350)),
)


def save_as(kind: str, image: Image.Image, folder: Path) -> Path:
    """The photograph in a file of that kind."""
    if kind == "portrait EXIF":
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = 6
        # Stored lying on its side, as a camera held upright stores it.
        edge = (image.width - image.height * 3 // 4) // 2
        upright = image.crop((edge, 0, image.width - edge, image.height))
        path = folder / "portrait.jpg"
        upright.transpose(Image.Transpose.ROTATE_90).save(path, quality=92, exif=exif)
    elif kind == "alpha PNG":
        path, disc = folder / "alpha.png", Image.new("L", image.size)
        ImageDraw.Draw(disc).ellipse((0, 0, image.width - 1, image.height - 1), fill=255)
        image.putalpha(disc)
        image.save(path)
    elif kind == "palette":
        path = folder / "palette.png"
        image.quantize(64).save(path)
    elif kind == "CMYK JPEG":
        path = folder / "cmyk.jpg"
        image.convert("CMYK").save(path, quality=92)
    else:
        path = folder / "panorama.webp"
        top = image.height // 4
        image.crop((0, top, image.width, top + image.width // 4)).save(path, lossless=True)
    return path


def edit(case: Edit, model: str, folder: Path) -> tuple[Canvas, Canvas, NDArray[np.bool_]]:
    """The photograph as it was, as it became, and the mask."""
    package, file = case.photo
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise SystemExit(f"{package} is missing: pip install scikit-image scikit-learn")
    with Image.open(Path(spec.origin).parent / file) as image:
        path = save_as(case.kind, image.convert("RGB"), folder)
    before = open_photo(path).canvas
    width, height = before.box.width, before.box.height
    x, y, wide, high = case.box
    mask = np.zeros((height, width), bool)
    mask[
        height * y // 1000 : height * (y + high) // 1000,
        width * x // 1000 : width * (x + wide) // 1000,
    ] = True
    Image.fromarray(mask).save(folder / "mask.png")
    words = [] if case.words is None else ["--prompt", case.words]
    line = ["edit", str(path), "--mask", str(folder / "mask.png"), "--task", case.task, *words]
    line += ["--grow", "0", "--feather", str(FEATHER), "--model", model]
    if run([*line, "-o", str(folder / "result.png")]) != 0:
        raise SystemExit("an edit failed; see above")
    return before, open_photo(folder / "result.png").canvas, mask


def count_changed(before: Canvas, after: Canvas, mask: NDArray[np.bool_]) -> int:
    """Pixels beyond mask and band that differ."""
    rows, columns = np.nonzero(mask)
    near = np.zeros_like(mask)
    near[
        max(0, rows.min() - FEATHER) : rows.max() + FEATHER + 1,
        max(0, columns.min() - FEATHER) : columns.max() + FEATHER + 1,
    ] = True
    return int((before.pixels != after.pixels).any(axis=2)[~near].sum())


def draw_cell(canvas: Canvas, mask: NDArray[np.bool_] | None) -> Image.Image:
    """A picture at the size of a cell; the mask, if any, as a frame."""
    picture = canvas.view(canvas.box)
    if mask is not None:
        rows, columns = np.nonzero(mask)
        frame = (columns.min(), rows.min(), columns.max(), rows.max())
        thick = max(2, picture.width // 150)
        ImageDraw.Draw(picture).rectangle(frame, outline=_RED, width=thick)
    picture.thumbnail(_CELL, Image.Resampling.LANCZOS)
    return picture


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", default="pocket", help="embedded name or diffusers folder")
    parser.add_argument("-o", "--output", type=Path, default=TARGET)
    options = parser.parse_args(arguments)

    font = ImageFont.load_default(_TEXT)
    line = _TEXT + _GAP
    height = _CELL[1] + 2 * line + _SPACE
    width = 2 * (_CELL[0] + _GAP) + _SPACE
    rows = -(-len(EDITS) // _ACROSS)
    sheet = Image.new("RGB", (_SPACE + _ACROSS * width, _SPACE + rows * height), _PAPER)
    pen = ImageDraw.Draw(sheet)
    for number, case in enumerate(EDITS):
        with tempfile.TemporaryDirectory() as folder:
            before, after, mask = edit(case, options.model, Path(folder))
        row, column = divmod(number, _ACROSS)
        x, y = _SPACE + column * width, _SPACE + row * height
        words = f" “{case.words}”" if case.words else ""
        pen.text((x, y), f"{case.kind}: {case.task}{words}", _INK, font)
        changed = count_changed(before, after, mask)
        box = before.box
        told = f"{box.width}x{box.height}, {before.pixels.shape[2]} channels; "
        told += f"{changed} pixels outside mask and band differ"
        pen.text((x, y + line), told, _FAINT, font)
        for place, cell in enumerate((draw_cell(before, mask), draw_cell(after, None))):
            sheet.paste(cell, (x + place * (_CELL[0] + _GAP), y + 2 * line))
    options.output.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(options.output, quality=88)
    print(options.output, file=sys.stderr)


if __name__ == "__main__":
    main()
