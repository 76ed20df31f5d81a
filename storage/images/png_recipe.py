"""The recipe in an image file: the chain of steps that made it.

PNG carries three texts: `parameters`, which viewers and web UIs for diffusion models show; `pixelmill`, the whole chain
as JSON; and an XMP packet with the IPTC source type of generated images. The other formats carry the first two in the
EXIF user comment.

All of it follows from the fingerprint chain, since jobs share artefacts by fingerprint, but for `made_with`: versions
and device of the process that wrote the file, which explain why an image comes out differently later.
Equal processes still write equal bytes. Two that differ write different ones for the same fingerprint, as they always
could: PNGs of another zlib differ, and so do the images of another torch. The first stands
(gpu_worker.shard.stored_images), at the price of reading it once. That happens only to what two workers
make both, as after a kill, so it is rare. In the ledger or the manifest the versions would not travel with the image.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal
from xml.sax.saxutils import escape

from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from storage.objects.keys import fingerprint

_FORMAT = 1  # of the JSON document
_CHUNK = "pixelmill"
_COMMENT_KEY = "Pixelmill"  # last entry of the user comment's parameters
_UTF16 = b"UNICODE\x00"  # EXIF 2.32, table 9: the comment's character code
_BLOCK_LIMIT = 65_000  # bytes of a JPEG segment, less its headers
_TEXT_LIMIT = 4_000_000  # characters: 64 steps whose prompts are as long as they may be have 3 million
_MOST_VERSIONS = 64
_SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/"

# Identity keys of the steps that draw from a prompt, by the names that web UIs gave them.
_SETTINGS = {"steps": "Steps", "scheduler": "Sampler", "guidance": "CFG scale", "seed": "Seed"}
_DRAWING_STEPS = ("generate", "inpaint")


@dataclass(frozen=True, slots=True)
class Provenance:
    """One step of the chain: exactly what its fingerprint was computed from, and the fingerprint."""

    step: str
    version: int
    identity: Mapping[str, Any]
    models: Mapping[str, str]  # str(ModelRef) -> SHA-256
    inputs: tuple[str, ...]
    fingerprint: str

    @property
    def is_genuine(self) -> bool:
        """Whether the fingerprint is that of the other fields. NaN and a lone surrogate have none."""
        try:
            return self.fingerprint == fingerprint(
                step=self.step,
                version=self.version,
                identity=self.identity,
                model_digests=self.models,
                inputs=self.inputs,
            )
        except (ValueError, RecursionError):
            return False


@dataclass(frozen=True, slots=True)
class ImageRecipe:
    """The steps that made an image, first to last.

    `made_with` is what the last one was made with: library -> version, and `device` if it has models. Empty: unknown,
    as in files of earlier versions.
    """

    steps: tuple[Provenance, ...]
    made_with: Mapping[str, str] = field(default_factory=dict)


class _StepDocument(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    step: str
    version: int
    identity: dict[str, Any]
    models: dict[str, str]
    inputs: Annotated[tuple[str, ...], Field(strict=False)]  # JSON has lists
    fingerprint: str


class _Document(BaseModel):
    model_config = ConfigDict(strict=True)

    format: Literal[1]
    steps: list[_StepDocument]
    made_with: dict[str, str] = Field(default_factory=dict, max_length=_MOST_VERSIONS)


def png_chunks(recipe: ImageRecipe) -> PngInfo:
    """Return the texts of a PNG file."""
    chunks = PngInfo()
    if text := parameters(recipe):
        chunks.add_text("parameters", text)  # as iTXt if it is not Latin
    chunks.add_text(_CHUNK, _to_json(recipe))
    if packet := xmp_packet(recipe):
        chunks.add_itxt("XML:com.adobe.xmp", packet.decode())
    return chunks


def exif_block(recipe: ImageRecipe) -> bytes:
    """Return EXIF with parameters and JSON as user comment, or b"" if that is more than a JPEG can hold."""
    comment = f"{_COMMENT_KEY}: {json.dumps(_to_json(recipe))}"
    if text := parameters(recipe):
        comment = f"{text}, {comment}"
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = _UTF16 + comment.encode("utf-16-be", "replace")
    block = exif.tobytes()
    return block if len(block) <= _BLOCK_LIMIT else b""


def parameters(recipe: ImageRecipe) -> str:
    """Return prompt, negative prompt and settings of the last drawing step, a line each, or "" if no step drew."""
    step = _last_drawn(recipe)
    if step is None:
        return ""
    identity = step.identity
    settings = {label: identity[key] for key, label in _SETTINGS.items() if identity.get(key) is not None}
    if identity.get("width") and identity.get("height"):
        settings["Size"] = f"{identity['width']}x{identity['height']}"
    if digest := _model_digest(step):
        settings["Model hash"] = digest[:10]
    if identity.get("model"):
        settings["Model"] = identity["model"]
    lines = [str(identity.get("prompt") or "")]
    if identity.get("negative_prompt"):
        lines.append(f"Negative prompt: {identity['negative_prompt']}")
    lines.append(", ".join(f"{label}: {_quoted(str(value))}" for label, value in settings.items()))
    return "\n".join(lines)


def _last_drawn(recipe: ImageRecipe) -> Provenance | None:
    """Return the last `generate`, as later steps only changed its picture, or else the last `inpaint`."""
    last = {step.step: step for step in recipe.steps}
    return next((last[name] for name in _DRAWING_STEPS if name in last), None)


def _model_digest(step: Provenance) -> str | None:
    by_name = {name: digest for name, digest in step.models.items() if name.endswith("/diffusion")}
    return next(iter((by_name or step.models).values()), None)


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False) if any(mark in value for mark in ',:\n"') else value


def xmp_packet(recipe: ImageRecipe) -> bytes:
    """Return XMP that declares how far the image is the work of a model, or b"" if none drew it.

    The terms are IPTC's digital source types. https://cv.iptc.org/newscodes/digitalsourcetype/
    """
    drawn = [step.step for step in recipe.steps if step.step in _DRAWING_STEPS]
    if not drawn:
        return b""
    # A model that only filled in a part of a given image made a composite.
    kind = "trainedAlgorithmicMedia" if "generate" in drawn else "compositeWithTrainedAlgorithmicMedia"
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
        ' xmlns:xmp="http://ns.adobe.com/xap/1.0/"><xmp:CreatorTool>Pixelmill</xmp:CreatorTool>'
        f"<Iptc4xmpExt:DigitalSourceType>{escape(_SOURCE_TYPE + kind)}</Iptc4xmpExt:DigitalSourceType>"
        '</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="r"?>'
    ).encode()


def recipe_text(image: Image.Image) -> str | None:
    """Return the JSON that an opened file carries, or None. Raises what Pillow's decoders raise."""
    text = image.info.get(_CHUNK)
    if text is None:
        comment = image.getexif().get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.UserComment)
        text = _from_comment(comment) if isinstance(comment, bytes) else None
    return text if isinstance(text, str) else None


def _from_comment(comment: bytes) -> str | None:
    if not comment.startswith(_UTF16):
        return None
    text = comment.removeprefix(_UTF16).decode("utf-16-be", "replace")
    # Within the quoted JSON each quote has a backslash before it: no prompt can imitate this beginning there.
    _, found, rest = text.rpartition(f'{_COMMENT_KEY}: "{{')
    if not found:
        return None
    try:
        return str(json.loads('"{' + rest))
    except ValueError:
        return None


def _to_json(recipe: ImageRecipe) -> str:
    """Encode as ASCII with sorted keys: equal chains give equal bytes."""
    steps = [{field: getattr(step, field) for field in _StepDocument.model_fields} for step in recipe.steps]
    document: dict[str, Any] = {"format": _FORMAT, "steps": steps}
    if recipe.made_with:
        document["made_with"] = recipe.made_with
    return json.dumps(document, sort_keys=True, separators=(",", ":"), default=dict)  # any Mapping as a dict


def parse_recipe(text: str) -> ImageRecipe | None:
    """Parse untrusted text and guarantee nothing but the types; return None for any other text."""
    if len(text) > _TEXT_LIMIT:
        return None
    try:
        document = _Document.model_validate(json.loads(text))
    except (ValueError, ValidationError, RecursionError):  # another program's text under the same name
        return None
    return ImageRecipe(tuple(Provenance(**dict(step)) for step in document.steps), document.made_with)
