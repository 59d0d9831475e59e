"""How near should an edit go? Things named and words read on photographs, by the room round a mask.

python bench/edit_context.py [--photos FOLDER] [--cache pocket-cache] [--count 104] [--seed 0]
    [--context 0.5 ...] [--threads N]

Things are painted into boxes and ellipses at random places of whole photographs, and words into
boxes, as ``onefill edit`` does it with the embedded policy. A thing counts if the classifier of
``onefill pocket score`` names it out of the whole vocabulary, a word if OCR reads it without a
wrong letter (left out without ``onefill[score]``); both look at the finished picture. Every
--context is tried for both tasks; without any, the usual one and then the policy's own settings.

The photographs are those held out from all training, which the recipe fetches into --cache, or
those of --photos. Prints one JSON document; exit code 1 if the first context does better than the
last in either task.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from photos import find_photos
from PIL import Image

from onefill.edit.crop import bounding_box
from onefill.edit.job import batch_size, paint_together
from onefill.edit.reading import missing_packages, open_reader, read_box, says_the_same
from onefill.edit.region import Region
from onefill.edit.request import EditPlan, EditRequest, plan_edit
from onefill.pocket.embedded import CLASSIFIER, resolve
from onefill.pocket.material.sources import HELD_OUT, PHOTOGRAPHS, folder
from onefill.pocket.material.vocabulary import TEXT_WORDS, WORDS
from onefill.pocket.scoring.classifier import load_classifier, views_of
from onefill.pocket.scoring.table import Figure, share_of
from onefill.policy.flux_fill import FluxFillPolicy
from onefill.policy.loading import load_policy
from onefill.policy.sampler import Sampling
from onefill.policy.settings import USUAL_CONTEXT
from onefill.tasks.registry import load_tasks

_TASKS = ("fill", "text")
_SIDES = {"fill": (0.15, 0.5), "text": (0.2, 0.45)}
"""Mean side of a mask as a share of the photograph's shorter side."""
_CORNERS = 48  # of an ellipse that is drawn as a polygon
_THING = 36  # pixels a side; what the classifier learned from is about so large
_TOGETHER = 32


@dataclass(frozen=True, kw_only=True)
class Case:
    """One edit."""

    photo: Path
    word: str
    region: Region


def draw_cases(photos: Sequence[Path], task: str, count: int, seed: int) -> Iterator[Case]:
    """Every word as often as any other, each at a random place of the next photograph."""
    rng = np.random.default_rng((seed, _TASKS.index(task)))
    words = WORDS if task == "fill" else TEXT_WORDS
    for number in range(count):
        photo, word = photos[number % len(photos)], words[number % len(words)]
        with Image.open(photo) as image:
            width, height = image.size
        side = min(width, height) * rng.uniform(*_SIDES[task])
        stretch = np.exp(rng.uniform(-0.35, 0.35) / 2) if task == "fill" else _stretch(word, rng)
        across, down = min(side * stretch, width - 1), side / stretch
        x, y = rng.uniform(0, width - across), rng.uniform(0, height - down)
        if task == "fill" and rng.random() < 0.5:
            region = Region(polygon=_ellipse(x, y, across, down))
        else:
            region = Region(box=",".join(str(round(value)) for value in (x, y, across, down)))
        yield Case(photo=photo, word=word, region=region)


def _stretch(word: str, rng: np.random.Generator) -> float:
    """Square root of the aspect of a box for a word: Latin letters are narrower than Chinese."""
    aspect = np.clip(len(word) * (0.6 if word.isascii() else 1.0), 1, 3) * rng.uniform(0.9, 1.3)
    return float(np.sqrt(aspect))


def _ellipse(x: float, y: float, width: float, height: float) -> str:
    angles = np.arange(_CORNERS) * 2 * np.pi / _CORNERS
    xs, ys = x + width * (1 + np.cos(angles)) / 2, y + height * (1 + np.sin(angles)) / 2
    return " ".join(f"{across:.1f},{down:.1f}" for across, down in zip(xs, ys, strict=True))


def paint(
    cases: Sequence[Case], task: str, policy: FluxFillPolicy, out: Path
) -> Iterator[tuple[Case, EditPlan, Image.Image]]:
    """The finished picture of every case; nothing is written."""
    registered = load_tasks().tasks[task]
    together = min(_TOGETHER, batch_size(policy.settings))
    for start in range(0, len(cases), together):
        part = cases[start : start + together]
        plans = [
            plan_edit(
                EditRequest(
                    image=case.photo,
                    task=registered,
                    regions=(case.region,),
                    words=case.word,
                    output=str(out / f"{task}-{start + place}.png"),
                )
            )
            for place, case in enumerate(part)
        ]
        edits = [(plan, start + place) for place, plan in enumerate(plans)]
        canvases = paint_together(edits, policy, Sampling())
        for case, plan, canvas in zip(part, plans, canvases, strict=True):
            yield case, plan, canvas.view(canvas.box)


def measure(
    photos: Sequence[Path], policy: FluxFillPolicy, count: int, seed: int, out: Path
) -> dict[str, Figure]:
    """Shares named and read; the latter is left out where there is no reader."""
    classifier = load_classifier(CLASSIFIER)
    named = []
    cases = list(draw_cases(photos, "fill", count, seed))
    for case, plan, picture in paint(cases, "fill", policy, out):
        mask = plan.whole_mask()
        box = bounding_box(mask)
        scale = _THING / max(box.width, box.height)
        size = (round(picture.width * scale), round(picture.height * scale))
        shown = np.asarray(picture.convert("RGB").resize(size, Image.Resampling.BILINEAR))
        masked = np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))
        view = views_of(shown[None], masked[None])
        named.append(WORDS[int(classifier.look(view).argmax())] == case.word)
    found = {"named": share_of(np.array(named))}
    if not missing_packages():
        reader = open_reader()
        cases = list(draw_cases(photos, "text", count, seed))
        read = [
            says_the_same(
                read_box(picture.convert("RGB"), bounding_box(plan.whole_mask()), reader),
                case.word,
            )
            for case, plan, picture in paint(cases, "text", policy, out)
        ]
        found["read"] = share_of(np.array(read))
    return found


def _row(figure: Figure) -> dict[str, float | str]:
    return {"share": round(figure.value, 3), "interval": f"{figure.low:.3f} to {figure.high:.3f}"}


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--photos", type=Path, help="folder of photographs")
    parser.add_argument("--cache", type=Path, default=Path("pocket-cache"))
    parser.add_argument("--count", type=int, default=104, help="things, and words")
    parser.add_argument("--context", type=float, nargs="+", help="mean sides of the mask")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.photos is not None:
        photos = find_photos(options.photos, {})
    else:
        photos = [folder(package, options.cache) / file for package, file in PHOTOGRAPHS[HELD_OUT]]
    if not photos:
        return 2
    policy = load_policy(resolve("policies", "pocket"), offline=True)
    own = policy.settings
    contexts = {f"{c:g}": dict.fromkeys(_TASKS, c) for c in options.context or (USUAL_CONTEXT,)}
    if options.context is None:
        contexts["own"] = own.context
    found: dict[str, dict[str, Figure]] = {}
    with tempfile.TemporaryDirectory() as out:
        for name, context in contexts.items():
            policy.settings = own.model_copy(update={"context": context})
            found[name] = measure(photos, policy, options.count, options.seed, Path(out))
            print(f"context {name}: done", file=sys.stderr, flush=True)
    rows = {name: {key: _row(each) for key, each in row.items()} for name, row in found.items()}
    document = {"photographs": len(photos), "count": options.count, "contexts": rows}
    print(json.dumps(document, indent=2))
    first, last = (list(found.values())[place] for place in (0, -1))
    return int(any(first[key].value > last[key].value for key in first))


if __name__ == "__main__":
    sys.exit(main())
