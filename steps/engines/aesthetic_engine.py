"""aesthetic: a few layers over CLIP's image vectors that predict how people rate a picture, as LAION's predictors."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from steps.judging import Vector


class AestheticOptions(BaseModel):
    """Options of a model part whose engine is `aesthetic`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    activation: Literal["none", "relu"] = Field(
        default="none", description="Between the layers; none in the predictors whose names end in linear or linearMSE."
    )
    revision: str | None = Field(default=None, description="Free text: part of the model's digest, nothing else.")


def load(source: str, options: Mapping[str, Any], device: str) -> "AestheticHead":
    """The linear layers of a `.safetensors` or a `.pth` file, in the order of their numbers.

    Raises FileNotFoundError, pydantic's ValidationError for options, ValueError for anything but layers that fit
    each other and end in one number, and pickle.UnpicklingError for a file that holds more than tensors.
    """
    checked = AestheticOptions.model_validate(dict(options))
    path = Path(source)
    if not path.is_file():
        raise FileNotFoundError(f"{source} is no file: put the predictor's weights there, or correct `source`")
    return AestheticHead(_network(source, _read(path), checked).to(device).eval(), device)


class AestheticHead:
    """Loaded layers."""

    def __init__(self, network: Any, device: str) -> None:
        self._network, self._device = network, device

    def scores(self, vectors: Sequence[Vector]) -> list[float]:
        """The rating that each of CLIP's unit vectors is predicted to get. Raises ValueError for those of another CLIP.

        Each is computed alone, which is no loss at this size.
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
    names = sorted((name for name in weights if name.rpartition(".")[2] == "weight"), key=_numbers)
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


def _numbers(name: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", name)]


def _bias(name: str) -> str:
    return f"{name.removesuffix('weight')}bias"
