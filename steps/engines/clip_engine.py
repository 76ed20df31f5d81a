"""CLIP: images and words as directions in one space, so that their angle says how well they agree.

Radford et al. 2021, Learning Transferable Visual Models From Natural Language Supervision.
"""

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from steps.engines.hugging_face import PretrainedOptions, pretrained, with_safetensors
from steps.judging import Vector
from steps.side_by_side import on_device


class ClipOptions(PretrainedOptions):
    """Options of a model part whose engine is `clip`."""


def load(source: str, options: Mapping[str, Any], device: str) -> "Clip":
    """A CLIP model in the layout of transformers (`config.json`, safetensors, tokenizer, image settings).

    Raises FileNotFoundError where there is none, and pydantic's ValidationError for unknown options.
    """
    checked = ClipOptions.model_validate(dict(options))
    from transformers import CLIPImageProcessor, CLIPModel, CLIPTokenizer

    network, tokenizer, processor = pretrained(
        source,
        checked,
        with_safetensors(CLIPModel.from_pretrained),
        CLIPTokenizer.from_pretrained,
        CLIPImageProcessor.from_pretrained,
    )
    return Clip(network.to(device), tokenizer, processor, device)


class Clip:
    """A loaded CLIP. On a CPU each image and each text is computed alone: the same one gives the same vector."""

    def __init__(self, network: Any, tokenizer: Any, processor: Any, device: str) -> None:
        self._network, self._tokenizer, self._processor, self._device = network, tokenizer, processor, device
        self._tokenizing = threading.Lock()  # a tokenizer remembers the padding that it was last asked for

    def image_vectors(self, images: Sequence[Image.Image]) -> list[Vector]:
        """Unit vectors of RGB images. The model sees the largest square in the middle."""
        return on_device(self._see, images, self._device)

    def text_vectors(self, texts: Sequence[str]) -> list[Vector]:
        """Unit vectors of texts, of which the model reads the first 75 or so words and parts of words."""
        return on_device(self._read, texts, self._device)

    def _see(self, images: Sequence[Image.Image]) -> list[Vector]:
        import torch

        with torch.inference_mode():
            pixels = self._processor(images=list(images), return_tensors="pt").pixel_values.to(self._device)
            seen = self._network.vision_model(pixel_values=pixels).pooler_output
            return _units(self._network.visual_projection(seen))

    def _read(self, texts: Sequence[str]) -> list[Vector]:
        import torch

        longest = self._network.config.text_config.max_position_embeddings
        with self._tokenizing:
            tokens = self._tokenizer(
                list(texts), padding=True, truncation=True, max_length=longest, return_tensors="pt"
            ).to(self._device)
        with torch.inference_mode():
            read = self._network.text_model(input_ids=tokens.input_ids, attention_mask=tokens.attention_mask)
            return _units(self._network.text_projection(read.pooler_output))


def _units(features: Any) -> list[Vector]:
    vectors = features.float().cpu().numpy()
    return list(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
