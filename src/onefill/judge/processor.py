"""Qwen2.5-VL's processor without its video part, the only part that needs torchvision."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, ProcessorMixin, Qwen2_5_VLProcessor
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil


class StillProcessor(Qwen2_5_VLProcessor):
    """The stock processor for text and still pictures."""

    def __init__(
        self, image_processor: Any = None, tokenizer: Any = None, chat_template: str | None = None
    ) -> None:
        self.image_token, self.video_token = "<|image_pad|>", "<|video_pad|>"
        self.image_token_id = tokenizer.convert_tokens_to_ids(self.image_token)
        self.video_token_id = tokenizer.convert_tokens_to_ids(self.video_token)
        # The stock constructor insists on a video processor; everything else it does is above.
        template = chat_template or tokenizer.chat_template
        ProcessorMixin.__init__(self, image_processor, tokenizer, chat_template=template)


def load_processor(folder: Path) -> StillProcessor:
    """The processor of a local Qwen2.5-VL folder.

    Raises:
        OSError: a file of the tokenizer or the image processor is missing.
        ValueError: one of them cannot be understood.
    """
    document, _ = StillProcessor.get_processor_dict(folder, local_files_only=True)
    return StillProcessor(
        image_processor=Qwen2VLImageProcessorPil.from_pretrained(folder, local_files_only=True),
        tokenizer=AutoTokenizer.from_pretrained(folder, local_files_only=True),
        chat_template=document.get("chat_template"),
    )
