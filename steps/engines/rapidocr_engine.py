"""rapidocr: PaddleOCR's networks in ONNX, which find lines of text in an image and read them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pydantic import Field

from configs.documents.fields import Schema
from steps.judge import RecognizedLine
from steps.side_by_side import on_device

# Names of weights that the package brings along -> its files that find text and that read it.
PACKAGED = {"PP-OCRv6-small": ("PP-OCRv6_det_small.onnx", "PP-OCRv6_rec_small.onnx")}
FILES = ("find.onnx", "read.onnx")  # in a folder of one's own


class RapidOcrOptions(Schema):
    """Options of a model part whose engine is `rapidocr`."""

    revision: str | None = Field(default=None, description="Free text: part of the model's digest, nothing else.")


def load(source: str, options: Mapping[str, Any], device: str) -> "TextReader":
    """Load the weights in the package rapidocr, by name, or those of a folder with find.onnx and read.onnx.

    The reading network's characters lie in its own metadata, as RapidOCR's files have them. Nothing is fetched.
    Raises ImportError where the package is missing, FileNotFoundError, ValueError for a network without characters,
    and pydantic's ValidationError for options.
    """
    RapidOcrOptions.model_validate(dict(options))
    try:
        import rapidocr
    except ImportError as error:
        raise ImportError("reading text needs rapidocr: install pixelmill[text] wherever workers run") from error
    import onnxruntime

    find, read = _files(source, Path(rapidocr.__file__).parent / "models")
    reads = onnxruntime.InferenceSession(str(read), providers=["CPUExecutionProvider"])
    if "character" not in reads.get_modelmeta().custom_metadata_map:
        raise ValueError(f"{read} does not list the characters that it reads: take a file as RapidOCR publishes them")
    on_cpu = device == "cpu" or "CUDAExecutionProvider" not in onnxruntime.get_available_providers()
    engine = rapidocr.RapidOCR(
        params={
            "Global.log_level": "critical",  # else it reports every image without text
            "Global.text_score": 0.0,  # the step has its own bound
            "Global.use_cls": False,  # lines upside down: a third network for a rare case
            "EngineConfig.onnxruntime.intra_op_num_threads": 1,  # several images side by side instead
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
            "EngineConfig.onnxruntime.use_cuda": not on_cpu,
            "Det.model_path": str(find),
            "Rec.model_path": str(read),
        }
    )
    return TextReader(engine)


class TextReader:
    """Loaded networks."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine

    def read(self, images: Sequence[Image.Image]) -> list[list[RecognizedLine]]:
        """Return the lines of text in each RGB image, from top to bottom. Each image is computed alone."""
        return on_device(lambda few: [self._lines(image) for image in few], images, "cpu")

    def _lines(self, image: Image.Image) -> list[RecognizedLine]:
        found = self._engine(np.ascontiguousarray(np.asarray(image)[:, :, ::-1]))  # it takes BGR
        if found.txts is None:
            return []
        return [RecognizedLine(text, float(share)) for text, share in zip(found.txts, found.scores, strict=True)]


def _files(source: str, packaged: Path) -> tuple[Path, Path]:
    folder, names = (packaged, PACKAGED[source]) if source in PACKAGED else (Path(source), FILES)
    if source not in PACKAGED and not folder.is_absolute():
        known = ", ".join(PACKAGED)
        raise FileNotFoundError(f"rapidocr brings no weights named {source!r}: choose {known}, or name a folder")
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(f"{folder} lacks {' and '.join(missing)}: put it there, or correct `source`")
    return folder / names[0], folder / names[1]
