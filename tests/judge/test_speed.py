"""The fast path computes what the stock one does; and the benchmark that compares them runs."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from types import ModuleType

import pytest
import torch
from PIL import Image
from torch import nn
from transformers.models.qwen2_5_vl import modeling_qwen2_5_vl as qwen2_5
from transformers.models.qwen3_vl import modeling_qwen3_vl as qwen3

from onefill.judge.model import Judge
from onefill.judge.vision import VisionLayouts

Draw = Callable[..., Image.Image]

SHORT = "Task: fill. Dimension: looks. Better?"
LONG = "Task: fill. Dimension: word match. Is it what was asked for? Prompt: a hat."
CPU = torch.device("cpu")

SIZE = {
    "depth": 3,
    "hidden_size": 32,
    "num_heads": 2,
    "intermediate_size": 48,
    "out_hidden_size": 24,
    "patch_size": 4,
    "initializer_range": 0.2,
}


@pytest.fixture(params=["qwen2.5", "qwen3"])
def tower(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(0)
    if request.param == "qwen2.5":
        config = qwen2_5.Qwen2_5_VLVisionConfig(**SIZE, window_size=32, fullatt_block_indexes=[1])
        return qwen2_5.Qwen2_5_VisionTransformerPretrainedModel._from_config(config).eval()
    config = qwen3.Qwen3VLVisionConfig(
        **SIZE, num_position_embeddings=25, deepstack_visual_indexes=[0, 2]
    )
    return qwen3.Qwen3VLVisionModel._from_config(config).eval()


# Rows and columns of patches; windows are 8 by 8 patches, so some are cut, at one side or two.
@pytest.mark.parametrize("grid", [(8, 8), (4, 6), (10, 16), (12, 22), (2, 2)])
@pytest.mark.parametrize("images", [1, 3])
def test_the_tower_gives_the_stock_values_and_gradients(
    tower: nn.Module, grid: tuple[int, int], images: int
) -> None:
    stock = deepcopy(tower)
    layouts = VisionLayouts(tower)
    grids = torch.tensor([[1, *grid]] * images)
    results = []
    for visual, tables in ((stock, {}), (tower, layouts.tables(images, grid, CPU))):
        torch.manual_seed(1)
        patches = torch.randn(images * grid[0] * grid[1], 96, requires_grad=True)
        seen = visual(patches, grid_thw=grids, **tables)
        outputs = [seen.pooler_output, *(getattr(seen, "deepstack_features", None) or [])]
        sum(output.pow(2).sum() for output in outputs).backward()
        assert patches.grad is not None
        results.append([*outputs, patches.grad])
    assert len(results[0]) in (2, 4)
    for expected, found in zip(*results, strict=True):
        assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_the_tower_still_takes_images_of_several_sizes(tower: nn.Module) -> None:
    """As stock code calls it, with nothing worked out before."""
    stock = deepcopy(tower)
    VisionLayouts(tower)
    grids = torch.tensor([[1, 8, 8], [1, 4, 6], [1, 8, 8]])
    patches = torch.randn(int(grids.prod(dim=1).sum()), 96)
    with torch.no_grad():
        expected, found = (v(patches, grid_thw=grids).pooler_output for v in (stock, tower))
    assert torch.allclose(found, expected, atol=1e-5)


def test_the_weights_keep_their_names(tower: nn.Module) -> None:
    before = {name: parameter.data_ptr() for name, parameter in tower.named_parameters()}
    VisionLayouts(tower)
    assert {name: p.data_ptr() for name, p in tower.named_parameters()} == before


def test_a_size_is_worked_out_once(judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    judge.encode_images(torch.rand(1, 3, 64, 64))
    monkeypatch.setattr("onefill.judge.vision.get_vision_position_ids", None)
    assert len(judge.encode_images(torch.rand(5, 3, 64, 64))) == 5


def test_shared_queries_are_read_once(judge: Judge, picture: Draw) -> None:
    with torch.no_grad():
        first = judge.encode_pictures([picture(i) for i in range(6)])
        second = judge.encode_pictures([picture(i + 9) for i in range(6)])
        queries = [SHORT, LONG, SHORT, SHORT, LONG, SHORT]
        lengths: list[tuple[int, ...]] = []
        watch = judge.model.model.language_model.layers[0].register_forward_pre_hook(
            lambda module, args, kwargs: lengths.append(
                (args or [kwargs["hidden_states"]])[0].shape
            ),
            with_kwargs=True,
        )
        together = judge.logits_from_features(first, second, queries)
        watch.remove()
        alone = [
            judge.logits_from_features(first.select([i]), second.select([i]), [query])
            for i, query in enumerate(queries)
        ]
    assert torch.allclose(together, torch.cat(alone), atol=1e-5)
    before, between, after = judge._text_around_images(LONG)
    rest = 2 * first.tokens.shape[1] + len(between) + len(after)
    assert [shape[:2] for shape in lengths] == [(2, len(before)), (6, rest)]


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    path = Path(__file__).parents[2] / "bench" / "judge_speed.py"
    spec = importlib.util.spec_from_file_location("judge_speed", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["judge_speed"] = module
    spec.loader.exec_module(module)
    return module


def test_the_benchmark_finds_the_same_probabilities(
    benchmark: ModuleType, judge_folder: Path
) -> None:
    result = benchmark.measure(judge_folder, count=2, batch=2, repeats=1)
    assert result["questions_per_pair"] == 8
    assert result["largest_difference"] <= benchmark.LIMIT
    assert result["spread_of_probabilities"] > 0.005


def test_the_embedded_judge_is_fast_and_right(benchmark: ModuleType) -> None:
    """By processor time, and with few pairs: what the benchmark shows is more."""
    from onefill.pocket.embedded import resolve

    folder = Path(resolve("judges", "pocket"))
    result = benchmark.measure(folder, count=4, batch=4, repeats=1)
    assert result["largest_difference"] <= benchmark.LIMIT
    assert result["ratio_of_processor_time"] > 2
