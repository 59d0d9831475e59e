"""Pairs per second of the judge beside the obvious way, on the same pairs in one run.

python bench/judge_speed.py [--pairs 24] [--batch 24] [--judge FOLDER] [--repeats 2]

The obvious way is what anyone writes first: the official processor, one question at a time,
``generate(max_new_tokens=1)``, and the probability of "Yes" among the two answers from its
scores. Ours looks at every picture once, and asks the pairs of a batch together. Both start
from decoded pictures and answer the same questions: every dimension of the task, in both orders.
Prints one JSON document; exit code 1 if a probability differs by more than 1e-4.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from PIL import Image, ImageFilter
from torch import Tensor
from transformers import Qwen2_5_VLForConditionalGeneration
from transformers.utils import logging

from onefill.images import read_image
from onefill.judge.loading import load_judge
from onefill.judge.model import Judge
from onefill.judge.processor import StillProcessor, load_processor
from onefill.judge.query import ANSWERS, answerable, build_messages, build_query
from onefill.judge.verdict import both_orders
from onefill.pocket.embedded import resolve, scenes
from onefill.tasks.registry import load_tasks

LIMIT = 1e-4
WORDS = "a straw hat"

Pair = tuple[Image.Image, Image.Image]


def draw_pairs(count: int) -> list[Pair]:
    """Held-out scenes, each beside a worse rendering of itself: blurred, or badly compressed."""
    files = sorted(f for f in scenes("heldout").glob("*.webp") if "mask" not in f.stem)
    pictures = [read_image(files[index % len(files)]) for index in range(count)]
    return [
        (picture, picture.filter(ImageFilter.GaussianBlur(1 + index % 3)))
        for index, picture in enumerate(pictures)
    ]


def ask_obviously(
    model: Qwen2_5_VLForConditionalGeneration,
    processor: StillProcessor,
    pairs: Sequence[Pair],
    queries: Sequence[str],
) -> Tensor:
    """P("Yes") by the official processor and ``generate``, one question at a time.

    Returns:
        (pairs, queries, 2): with the first picture shown first, and with the second.
    """
    answers = [processor.tokenizer.encode(answer)[0] for answer in ANSWERS]
    found = []
    for pair in pairs:
        for query in queries:
            for pictures in (pair, pair[::-1]):
                text = processor.apply_chat_template(
                    build_messages(query), tokenize=False, add_generation_prompt=True
                )
                inputs = processor(text=[text], images=list(pictures), return_tensors="pt")
                output = model.generate(
                    **inputs,
                    max_new_tokens=1,
                    do_sample=False,
                    return_dict_in_generate=True,
                    output_scores=True,
                )
                found.append(output.scores[0][0, answers].softmax(dim=0)[0])
    return torch.stack(found).view(len(pairs), len(queries), 2)


@torch.no_grad()
def ask_together(judge: Judge, pairs: Sequence[Pair], queries: Sequence[str], batch: int) -> Tensor:
    """The same by the judge, ``batch`` pairs at a time; see ``ask_obviously``."""
    found = []
    for start in range(0, len(pairs), batch):
        some = pairs[start : start + batch]
        seen = judge.encode_pictures([picture for pair in some for picture in pair])
        asked = list(queries) * len(some)
        first = seen.select([2 * i for i in range(len(some)) for _ in queries])
        second = seen.select([2 * i + 1 for i in range(len(some)) for _ in queries])
        logits = torch.stack(both_orders(judge, first, second, asked), dim=-1)
        found.append(torch.sigmoid(logits).view(len(some), len(queries), 2))
    return torch.cat(found)


@dataclass
class Fastest:
    """The fastest of some runs.

    Attributes:
        wall: seconds on the clock.
        cpu: seconds of processor time, all threads; steadier where other programs compute too.
        answer: what the run returned.
    """

    wall: float = float("inf")
    cpu: float = float("inf")
    answer: Tensor = field(default_factory=lambda: torch.empty(0))

    def run(self, way: Callable[[], Tensor]) -> None:
        """Run once more, and keep what was faster."""
        wall, cpu = time.perf_counter(), time.process_time()
        self.answer = way()
        self.wall = min(self.wall, time.perf_counter() - wall)
        self.cpu = min(self.cpu, time.process_time() - cpu)


def measure(folder: Path, *, count: int, batch: int, repeats: int) -> dict[str, float | int]:
    """Time both ways on the same pairs, after a warm-up of each."""
    task = load_tasks().get("fill")
    queries = [build_query(task, dimension, WORDS) for dimension in answerable(task, WORDS)]
    pairs = draw_pairs(count)
    judge = load_judge(str(folder), device="cpu", offline=True)
    stock = Qwen2_5_VLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
    processor = load_processor(folder)

    ask_obviously(stock, processor, pairs[:1], queries)
    ask_together(judge, pairs[:batch], queries, batch)
    obvious, ours = Fastest(), Fastest()
    for _ in range(repeats):  # in turn, so that a busy minute of the machine falls on both
        obvious.run(lambda: ask_obviously(stock, processor, pairs, queries))
        ours.run(lambda: ask_together(judge, pairs, queries, batch))
    return {
        "pairs": count,
        "questions_per_pair": 2 * len(queries),
        "threads": torch.get_num_threads(),
        "obvious_pairs_per_second": round(count / obvious.wall, 2),
        "ours_pairs_per_second": round(count / ours.wall, 2),
        "ratio": round(obvious.wall / ours.wall, 2),
        "ratio_of_processor_time": round(obvious.cpu / ours.cpu, 2),
        "largest_difference": float((obvious.answer - ours.answer).abs().max()),
        "spread_of_probabilities": round(float(obvious.answer.std()), 3),
    }


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=24)
    parser.add_argument("--batch", type=int, default=24)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--judge", default="pocket", help="embedded name or folder")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    folder = Path(resolve("judges", options.judge))
    result = measure(folder, count=options.pairs, batch=options.batch, repeats=options.repeats)
    print(json.dumps(result, indent=2))
    return int(result["largest_difference"] > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
