"""Writes a judge's folder: stock Qwen-VL files, and the card that says what it is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from onefill.judge.card import CARD_NAME
from onefill.judge.query import TEMPLATE, TEMPLATE_VERSION


def save_judge(
    folder: Path,
    model: Any,
    tokenizer: Any,
    image_processor: Any,
    card: Mapping[str, Any],
    *,
    dtype: torch.dtype | None = torch.float32,
    weights: Mapping[str, Tensor] | None = None,
) -> None:
    """Write a judge as a stock Qwen2.5-VL or Qwen3-VL folder plus ``onefill_judge.json``.

    Args:
        folder: created if missing.
        model: its weights are written, not changed.
        tokenizer: with its chat template.
        image_processor: becomes ``preprocessor_config.json``.
        card: ``dimensions`` ("task/dimension" to accuracy and temperature), ``facts``,
            ``sources``; the query template and its version are added.
        dtype: of the weights on disk; half precision halves the folder. None keeps each as it is.
        weights: written in place of the model's own, under the same names.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = model.state_dict() if weights is None else weights
    # Tensors that share memory still do when they are cast, so that they are written once.
    places = {name: (tensor.data_ptr(), tensor.shape) for name, tensor in tensors.items()}
    cast = {places[name]: tensor.to(dtype or tensor.dtype) for name, tensor in tensors.items()}
    model.save_pretrained(folder, state_dict={name: cast[place] for name, place in places.items()})
    tokenizer.save_pretrained(folder)
    image_processor.save_pretrained(folder)
    for weights_file in folder.glob("*.safetensors"):
        weights_file.chmod(0o644)  # written private; an installed judge is for every user
    asked = {"template_version": TEMPLATE_VERSION, "template": TEMPLATE}
    text = json.dumps({**asked, **card}, indent=2, ensure_ascii=False)
    (folder / CARD_NAME).write_text(text + "\n", encoding="utf-8")
