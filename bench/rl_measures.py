"""What a trained run is measured by: a second judge, and measures that are no judge.

Start model and trained model paint the same held-out scenes from the same noise, by an edit's
own number of steps and from where an edit of the task begins. Columns of ``measure_run``:

- ``TASK/DIMENSION``: how often the second judge prefers the trained model's picture.
- ``TASK seam``, ``TASK drift``: step across the mask's edge, and change outside the mask before
  the picture is put back, as ratios to the start model's; below 1 is better.
- ``removal dB``: change of the PSNR inside the mask to the true background.
- ``fill named``: share of things that a separately trained classifier names, and beside it
  ``fill named at start`` in the start model's pictures. Where nearly all are named at once, the
  share says little, and ``fill surer`` more: by how much the classifier's logarithm of the
  probability of the right word has grown, in the mean; above 0 is better.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor

from onefill.data.source import open_source
from onefill.images import image_to_array, read_image
from onefill.pocket import embedded, vocabulary
from onefill.pocket.classifier import load_classifier, views_of
from onefill.pocket.held_out import read_held_out
from onefill.pocket.pairs import ALIGNMENT, DIMENSIONS, LABELS, NOTHING, TASK_DIMENSIONS
from onefill.pocket.second_judge import SecondJudge, load_second_judge
from onefill.policy.flux_fill import FluxFillPolicy
from onefill.policy.loading import load_policy
from onefill.policy.sampler import Sampling
from onefill.rl.batch import Batch, make_batch
from onefill.rl.monitor import outside_drift, seam_error
from onefill.rl.reference import StartWeights
from onefill.rl.rollout import painted
from onefill.tasks.registry import load_tasks

_COUNT, _SEED, _PART = 100, 5, 25


def measure_run(folder: Path) -> dict[str, dict[str, float]]:
    """Every figure of a finished run with an adapter; see the module for their names."""
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    policy = load_policy(embedded.resolve("policies", "pocket"))
    policy.load_adapter(folder / "adapter")
    second = load_second_judge(embedded.SECOND_JUDGE)
    figures: dict[str, float] = {}
    for name in summary["tasks"]:
        if name not in TASK_DIMENSIONS:
            continue
        batch = _held_out(name, policy)
        start, trained = _paint_both(policy, batch)
        before, after = batch.paste(start), batch.paste(trained)
        figures |= _second_opinions(second, name, batch, before, after)
        figures[f"{name} seam"] = seam_error(after, batch.masks) / seam_error(before, batch.masks)
        figures[f"{name} drift"] = outside_drift(
            trained, batch.images, batch.masks
        ) / outside_drift(start, batch.images, batch.masks)
        if name == "removal":
            truth = _true_backgrounds(len(batch))
            figures["removal dB"] = float(
                (_psnr(after, truth, batch.masks) - _psnr(before, truth, batch.masks)).mean()
            )
        if name == "fill":
            named, sure = _named(batch, after)
            named_at_start, sure_at_start = _named(batch, before)
            figures |= {"fill named": named, "fill named at start": named_at_start}
            figures["fill surer"] = sure - sure_at_start
    return {"figures": figures}


def _held_out(name: str, policy: FluxFillPolicy) -> Batch:
    task = load_tasks().get(name)
    if name == "removal":  # in the order of the scenes' file, for their true backgrounds
        scenes = read_held_out(embedded.scenes("heldout"), name)
        names = [str(row["image"]) for row in scenes.rows[:_COUNT]]
        pictures = torch.from_numpy(scenes.pictures[:_COUNT]).permute(0, 3, 1, 2).float() / 255
        masks = torch.from_numpy(scenes.masks[:_COUNT]).float()[:, None]
        every = [task] * len(names)
        return Batch(every, pictures, masks, [None] * len(names), names, names)
    source = open_source(embedded.scenes("heldout"), [task], 0)
    count = min(_COUNT, source.count(name))
    return make_batch(task, source.batch(name, 0, count, policy.settings.size), "cpu")


def _paint_both(policy: FluxFillPolicy, batch: Batch) -> tuple[Tensor, Tensor]:
    """Whole pictures by the start model and by the trained one, from the same noise."""
    sampler = Sampling().settle(policy, batch.task.name)
    start: list[Tensor] = []
    trained: list[Tensor] = []
    for first in range(0, len(batch), _PART):
        part = batch.select(range(first, min(first + _PART, len(batch))))
        conditions = policy.encode(part.images, part.masks, part.prompts)
        noise = policy.noise(conditions, torch.Generator().manual_seed(_SEED + first))
        trained.append(painted(policy, part, conditions, noise, sampler))
        with StartWeights(policy, "lora").active():
            start.append(painted(policy, part, conditions, noise, sampler))
    return torch.cat(start), torch.cat(trained)


def _second_opinions(
    second: SecondJudge, name: str, batch: Batch, before: Tensor, after: Tensor
) -> dict[str, float]:
    asked = torch.tensor([_label(words) for words in batch.words])
    found = {}
    for dimension in TASK_DIMENSIONS[name]:
        if dimension == ALIGNMENT and (asked == NOTHING).all():
            continue
        columns = torch.full((len(batch),), DIMENSIONS.index(dimension))
        with torch.no_grad():
            p = second.prob_first_better(after * 255, before * 255, columns, asked)
        counted = p[asked != NOTHING] if dimension == ALIGNMENT else p
        found[f"{name}/{dimension}"] = float((counted > 0.5).float().mean())
    return found


def _label(words: str | None) -> int:
    """The label of what a prompt names; that of nothing if it names nothing known."""
    named = vocabulary.asked_for(words or "")
    return LABELS.index(named) if named else NOTHING


def _true_backgrounds(count: int) -> Tensor:
    folder = embedded.scenes("heldout")
    rows = read_held_out(folder, "removal").rows[:count]
    return torch.stack(
        [torch.from_numpy(image_to_array(read_image(folder / row["truth"]))) for row in rows]
    )


def _psnr(pictures: Tensor, truth: Tensor, masks: Tensor) -> Tensor:
    """PSNR in dB (B,) inside the masks."""
    error = ((pictures - truth).square() * masks).sum((1, 2, 3)) / (3 * masks.sum((1, 2, 3)))
    return -10 * torch.log10(error.clamp(min=1e-6))


def _named(batch: Batch, pictures: Tensor) -> tuple[float, float]:
    """Share of pictures whose thing is named, and the mean log-probability of its word."""
    model = load_classifier(embedded.CLASSIFIER)
    labels = torch.tensor([_label(words) for words in batch.words])
    known = labels < len(vocabulary.WORDS)
    views = views_of(
        (pictures * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy(),
        batch.masks[:, 0].bool().numpy(),
    )
    with torch.no_grad():
        said = model(views[known]).log_softmax(1)
    right = labels[known]
    sure = said.gather(1, right[:, None]).mean()
    return float((said.argmax(1) == right).float().mean()), float(sure)
