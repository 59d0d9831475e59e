"""The vision-language models that can be a judge, by the ``model_type`` of their config.json."""

from __future__ import annotations

from typing import Any

from transformers import Qwen2_5_VLForConditionalGeneration, Qwen3VLForConditionalGeneration

MODEL_CLASSES: dict[str, Any] = {
    "qwen2_5_vl": Qwen2_5_VLForConditionalGeneration,
    "qwen3_vl": Qwen3VLForConditionalGeneration,
}
"""Stock classes; both take the patches of ``preprocess`` and the text of ``query``."""
