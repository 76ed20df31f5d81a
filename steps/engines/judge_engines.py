"""Engines of judges: CLIP, aesthetic predictors on its vectors, and image classifiers of transformers.

CLIP has images and words as directions in one space; their angle measures how well they agree: Radford et al. 2021,
Learning Transferable Visual Models From Natural Language Supervision.
"""

import re
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image
from pydantic import Field

from configs.documents.fields import Schema
from steps.engines.hugging_face import PretrainedOptions, pretrained, with_safetensors
from steps.judge import Vector
from steps.side_by_side import on_device


def load_clip(source: str, options: Mapping[str, Any], device: str) -> "Clip":
    """Return a CLIP model in the layout of transformers (`config.json`, safetensors, tokenizer, image settings).

    Raises FileNotFoundError where there is none, and pydantic's ValidationError for unknown options.
    """
    checked = PretrainedOptions.model_validate(dict(options))
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
        """Return unit vectors of RGB images. The model sees the largest square in the middle."""
        return on_device(self._see, images, self._device)

    def text_vectors(self, texts: Sequence[str]) -> list[Vector]:
        """Return unit vectors of texts; the model reads the first 75 or so words and parts of words."""
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


class AestheticOptions(Schema):
    """Options of a model part whose engine is `aesthetic`."""

    activation: Literal["none", "relu"] = Field(
        default="none", description="Between the layers; none in the predictors whose names end in linear or linearMSE."
    )
    revision: str | None = Field(default=None, description="Free text: part of the model's digest, nothing else.")


def load_aesthetic(source: str, options: Mapping[str, Any], device: str) -> "AestheticHead":
    """Return the linear layers of a `.safetensors` or a `.pth` file, in the order of their numbers.

    Raises FileNotFoundError, pydantic's ValidationError for options, ValueError for anything but layers that fit
    each other and end in one number, and pickle.UnpicklingError for a file that holds more than tensors.
    """
    checked = AestheticOptions.model_validate(dict(options))
    path = Path(source)
    if not path.is_file():
        raise FileNotFoundError(f"{source} is not a file: put the predictor's weights there, or correct `source`")
    return AestheticHead(_network(source, _read(path), checked).to(device).eval(), device)


class AestheticHead:
    """Loaded layers."""

    def __init__(self, network: Any, device: str) -> None:
        self._network, self._device = network, device

    def scores(self, vectors: Sequence[Vector]) -> list[float]:
        """Return the predicted rating for each of CLIP's unit vectors. Raises ValueError for those of another CLIP.

        Each is computed alone, which costs nothing at this size.
        """
        import torch

        width = self._network[0].in_features
        if wrong := {len(vector) for vector in vectors} - {width}:
            raise ValueError(
                f"the aesthetic part reads vectors of {width} numbers, and the model's clip part gives {min(wrong)}: "
                "give the model the CLIP that the predictor was trained on"
            )
        with torch.inference_mode():
            return [
                float(self._network(torch.from_numpy(np.asarray(vector)).to(self._device)[None])) for vector in vectors
            ]


def _read(path: Path) -> Mapping[str, Any]:
    import torch
    from safetensors.torch import load_file

    if path.suffix == ".safetensors":
        return load_file(path)
    weights: Mapping[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return weights


def _network(source: str, weights: Mapping[str, Any], options: AestheticOptions) -> Any:
    from torch import nn

    layers: list[nn.Module] = []
    names = [name for name in weights if name.rpartition(".")[2] == "weight"]
    names.sort(key=lambda name: [int(number) for number in re.findall(r"\d+", name)])
    used = {*names, *(_bias(name) for name in names)}
    if not names or used != set(weights):
        raise ValueError(f"{source} holds no plain linear layers: it has {', '.join(sorted(weights)[:8]) or 'nothing'}")
    width = None  # of what the layer before gives
    for name in names:
        matrix, bias = weights[name].float(), weights[_bias(name)].float()
        if matrix.ndim != 2 or width not in (None, matrix.shape[1]):
            raise ValueError(f"{source}: {name} of shape {tuple(matrix.shape)} does not follow the layer before it")
        width = matrix.shape[0]
        layer = nn.Linear(matrix.shape[1], width)
        layer.load_state_dict({"weight": matrix, "bias": bias})
        if layers and options.activation == "relu":
            layers.append(nn.ReLU())
        layers.append(layer)
    if width != 1:
        raise ValueError(f"{source} ends in {width} numbers, not in one rating")
    return nn.Sequential(*layers)


def _bias(name: str) -> str:
    return f"{name.removesuffix('weight')}bias"


class ImageClassifierOptions(PretrainedOptions):
    """Options of a model part whose engine is `image_classifier`."""

    labels: tuple[str, ...] = Field(
        default=("nsfw",), min_length=1, description="Labels of the model that count; their shares are added."
    )


def load_image_classifier(source: str, options: Mapping[str, Any], device: str) -> "ImageClassifier":
    """Return a classifier in the layout of transformers (`config.json` with its labels, safetensors, image settings).

    Raises FileNotFoundError where there is none, ValueError for a label that it does not have, and pydantic's
    ValidationError for unknown options.
    """
    checked = ImageClassifierOptions.model_validate(dict(options))
    from transformers import AutoImageProcessor, AutoModelForImageClassification

    network, processor = pretrained(
        source,
        checked,
        with_safetensors(AutoModelForImageClassification.from_pretrained),
        AutoImageProcessor.from_pretrained,
    )
    indices = {name.casefold(): index for index, name in network.config.id2label.items()}
    missing = [label for label in checked.labels if label.casefold() not in indices]
    if missing:
        has = ", ".join(network.config.id2label.values())
        raise ValueError(f"{source} has no label {', '.join(missing)}: choose `labels` among {has}")
    chosen = sorted({indices[label.casefold()] for label in checked.labels})
    return ImageClassifier(network.to(device), processor, chosen, device)


class ImageClassifier:
    """A loaded classifier. On a CPU each image is computed alone: the same one gives the same share."""

    def __init__(self, network: Any, processor: Any, labels: Sequence[int], device: str) -> None:
        self._network, self._processor, self._labels, self._device = network, processor, list(labels), device

    def shares(self, images: Sequence[Image.Image]) -> list[float]:
        """Return the summed share of the chosen labels for each RGB image, 0 … 1."""
        return on_device(self._judge, images, self._device)

    def _judge(self, images: Sequence[Image.Image]) -> list[float]:
        import torch

        with torch.inference_mode():
            pixels = self._processor(images=list(images), return_tensors="pt").pixel_values.to(self._device)
            shares = self._network(pixel_values=pixels).logits.float().softmax(-1)
            return [min(1.0, float(share)) for share in shares[:, self._labels].sum(-1)]
