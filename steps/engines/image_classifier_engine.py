"""image_classifier: any of transformers' image classifiers, asked for the share that some of its labels get."""

from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image
from pydantic import Field

from steps.engines.hugging_face import PretrainedOptions, pretrained, with_safetensors
from steps.side_by_side import on_device


class ImageClassifierOptions(PretrainedOptions):
    """Options of a model part whose engine is `image_classifier`."""

    labels: tuple[str, ...] = Field(
        default=("nsfw",), min_length=1, description="Labels of the model that count; their shares are added."
    )


def load(source: str, options: Mapping[str, Any], device: str) -> "ImageClassifier":
    """A classifier in the layout of transformers (`config.json` with its labels, safetensors, image settings).

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
    places = {name.casefold(): place for place, name in network.config.id2label.items()}
    missing = [label for label in checked.labels if label.casefold() not in places]
    if missing:
        has = ", ".join(network.config.id2label.values())
        raise ValueError(f"{source} has no label {', '.join(missing)}: choose `labels` among {has}")
    chosen = sorted({places[label.casefold()] for label in checked.labels})
    return ImageClassifier(network.to(device), processor, chosen, device)


class ImageClassifier:
    """A loaded classifier. On a CPU each image is computed alone: the same one gives the same share."""

    def __init__(self, network: Any, processor: Any, labels: Sequence[int], device: str) -> None:
        self._network, self._processor, self._labels, self._device = network, processor, list(labels), device

    def shares(self, images: Sequence[Image.Image]) -> list[float]:
        """What the chosen labels get together of each RGB image, 0 … 1."""
        return on_device(self._judge, images, self._device)

    def _judge(self, images: Sequence[Image.Image]) -> list[float]:
        import torch

        with torch.inference_mode():
            pixels = self._processor(images=list(images), return_tensors="pt").pixel_values.to(self._device)
            shares = self._network(pixel_values=pixels).logits.float().softmax(-1)
            return [min(1.0, float(share)) for share in shares[:, self._labels].sum(-1)]
