"""The recipe in an image file: the chain of steps that made it.

PNG carries three texts: `parameters`, which viewers and web UIs for diffusion models show; `pixelmill`, the whole chain
as JSON; and an XMP packet with the IPTC source type of generated images. The other formats carry the first two in the
EXIF user comment. A block of JPEG holds 64 KB: where that is not enough, the chain is left out, and then the ends of
the prompts. The credits of an input image are beside them (storage.images.credits).

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
from typing import Annotated, Any, Literal, NamedTuple
from xml.sax.saxutils import escape

from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from configs.documents.notes import Notes
from storage.images.credits import PNG_KEYS, put_into_exif, xmp_credits
from storage.objects.keys import fingerprint

_FORMAT = 1  # of the JSON document
_CHUNK = "pixelmill"
_COMMENT_KEY = "Pixelmill"  # last entry of the user comment's parameters
_UTF16 = b"UNICODE\x00"  # EXIF 2.32, table 9: the comment's character code
JPEG_BLOCK = 65_000  # bytes of a segment, less its headers
_LEFT_OUT = f"{_COMMENT_KEY}: left out, as it is more than a JPEG holds"
_SHORTENED = (8_000, 4_000, 2_000, 1_000)  # characters of each prompt that are kept, where not all have room
_TEXT_LIMIT = 4_000_000  # characters: 64 steps whose prompts are as long as they may be have 3 million
_MOST_VERSIONS = 64
_SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/"

# Identity keys of the steps that draw from a prompt, by the names that web UIs gave them.
_SETTINGS = {"steps": "Steps", "scheduler": "Sampler", "guidance": "CFG scale", "seed": "Seed"}
_DECIDED = ("Size", "Sampler")  # by the model, where the recipe leaves them open
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


def png_chunks(recipe: ImageRecipe, notes: Notes = Notes()) -> PngInfo:
    """Return the texts of a PNG file."""
    chunks = PngInfo()
    if text := parameters(recipe, notes):
        chunks.add_text("parameters", text)  # as iTXt if it is not Latin
    chunks.add_text(_CHUNK, _to_json(recipe, notes))
    for name, key in PNG_KEYS.items():
        if text := getattr(notes, name):
            chunks.add_text(key, text)
    if packet := xmp_packet(recipe, notes):
        chunks.add_itxt("XML:com.adobe.xmp", packet.decode())
    return chunks


class ExifBlock(NamedTuple):
    """EXIF, and what of the recipe it does not hold, in words."""

    data: bytes
    left_out: str = ""


def exif_block(recipe: ImageRecipe, notes: Notes, limit: int | None = None) -> ExifBlock:
    """Return EXIF with credits, and with parameters and JSON as user comment, of at most `limit` bytes.

    Where not all has room, the JSON is left out, and then the ends of the prompts: the image and its settings count
    for more than that it can be made again.
    """
    whole = f"{_COMMENT_KEY}: {json.dumps(_to_json(recipe, notes, ascii=False), ensure_ascii=False)}"
    block = _with_comment(notes, parameters(recipe, notes), whole)
    if limit is None or len(block) <= limit:
        return ExifBlock(block)
    for most in (None, *_SHORTENED):
        block = _with_comment(notes, parameters(recipe, notes, most), _LEFT_OUT)
        if len(block) <= limit:
            break
    return ExifBlock(block, "the recipe" if most is None else "the recipe and the ends of the prompts")


def _with_comment(notes: Notes, *parts: str) -> bytes:
    exif = Image.Exif()
    put_into_exif(notes, exif)
    comment = ", ".join(part for part in parts if part)
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = _UTF16 + comment.encode("utf-16-be", "replace")
    return exif.tobytes()


def parameters(recipe: ImageRecipe, notes: Notes = Notes(), most: int | None = None) -> str:
    """Return prompt, negative prompt and settings of the last drawing step, a line each, or "" if no step drew.

    Settings that the model decided are in the notes; `most` cuts the prompts, characters.
    """
    step = _last_drawn(recipe)
    if step is None:
        return ""
    identity = step.identity
    decided = notes.drawn
    settings = {
        label: identity[key] if identity.get(key) is not None else decided.get(label)
        for key, label in _SETTINGS.items()
    }
    settings["Size"] = decided.get("Size")
    if identity.get("width") and identity.get("height"):
        settings["Size"] = f"{identity['width']}x{identity['height']}"
    if digest := _model_digest(step):
        settings["Model hash"] = digest[:10]
    if identity.get("model"):
        settings["Model"] = identity["model"]
    lines = [_cut(str(identity.get("prompt") or ""), most)]
    if identity.get("negative_prompt"):
        lines.append(f"Negative prompt: {_cut(str(identity['negative_prompt']), most)}")
    given = {label: value for label, value in settings.items() if value is not None}
    lines.append(", ".join(f"{label}: {_quoted(str(value))}" for label, value in given.items()))
    return "\n".join(lines)


def _cut(text: str, most: int | None) -> str:
    return text if most is None or len(text) <= most else f"{text[:most]}…"


def _last_drawn(recipe: ImageRecipe) -> Provenance | None:
    """Return the last `generate`, as later steps only changed its picture, or else the last `inpaint`."""
    last = {step.step: step for step in recipe.steps}
    return next((last[name] for name in _DRAWING_STEPS if name in last), None)


def _model_digest(step: Provenance) -> str | None:
    by_name = {name: digest for name, digest in step.models.items() if name.endswith("/diffusion")}
    return next(iter((by_name or step.models).values()), None)


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False) if any(mark in value for mark in ',:\n"') else value


def xmp_packet(recipe: ImageRecipe, notes: Notes = Notes()) -> bytes:
    """Return XMP with the credits and how far the image is the work of a model, or b"" without either.

    The terms are IPTC's digital source types. https://cv.iptc.org/newscodes/digitalsourcetype/
    """
    drawn = [step.step for step in recipe.steps if step.step in _DRAWING_STEPS]
    told = xmp_credits(notes)
    if drawn:
        # A model that only filled in a part of a given image made a composite.
        kind = "trainedAlgorithmicMedia" if "generate" in drawn else "compositeWithTrainedAlgorithmicMedia"
        told += f"<Iptc4xmpExt:DigitalSourceType>{escape(_SOURCE_TYPE + kind)}</Iptc4xmpExt:DigitalSourceType>"
    if not told:
        return b""
    dublin_core = ' xmlns:dc="http://purl.org/dc/elements/1.1/"' if "<dc:" in told else ""
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
        f' xmlns:xmp="http://ns.adobe.com/xap/1.0/"{dublin_core}><xmp:CreatorTool>Pixelmill</xmp:CreatorTool>'
        f'{told}</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="r"?>'
    ).encode()


def recipe_text(image: Image.Image) -> str | None:
    """Return the JSON that an opened file carries, or None. Raises what Pillow's decoders raise."""
    text = image.info.get(_CHUNK)
    if text is None:
        text = _from_comment(_comment(image))
    return text if isinstance(text, str) else None


def lost_recipe(image: Image.Image) -> bool:
    """Return whether an opened file had no room for its recipe. Raises what Pillow's decoders raise."""
    return _comment(image).endswith(_LEFT_OUT)


def _comment(image: Image.Image) -> str:
    comment = image.getexif().get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.UserComment)
    if not isinstance(comment, bytes) or not comment.startswith(_UTF16):
        return ""
    return comment.removeprefix(_UTF16).decode("utf-16-be", "replace")


def _from_comment(text: str) -> str | None:
    # Within the quoted JSON each quote has a backslash before it: no prompt can imitate this beginning there.
    _, found, rest = text.rpartition(f'{_COMMENT_KEY}: "{{')
    if not found:
        return None
    try:
        return str(json.loads('"{' + rest))
    except ValueError:
        return None


def _to_json(recipe: ImageRecipe, notes: Notes, *, ascii: bool = True) -> str:
    """Encode with sorted keys: equal chains give equal bytes. `ascii` is for texts of PNG, which are Latin."""
    steps = [{field: getattr(step, field) for field in _StepDocument.model_fields} for step in recipe.steps]
    document: dict[str, Any] = {"format": _FORMAT, "steps": steps}
    if recipe.made_with:
        document["made_with"] = recipe.made_with
    if notes.drawn:
        document["drawn"] = notes.drawn
    # Any Mapping as a dict.
    return json.dumps(document, sort_keys=True, separators=(",", ":"), default=dict, ensure_ascii=ascii)


def read_drawn(text: str | None) -> dict[str, str]:
    """Return what a model decided, from the untrusted JSON in a file."""
    if text is None or '"drawn"' not in text or len(text) > _TEXT_LIMIT:
        return {}
    try:
        drawn = json.loads(text)["drawn"]
        return {label: str(drawn[label])[:_MOST_VERSIONS] for label in _DECIDED if label in drawn}
    except (ValueError, KeyError, TypeError, RecursionError):  # another program's text
        return {}


def parse_recipe(text: str) -> ImageRecipe | None:
    """Parse untrusted text and guarantee nothing but the types; return None for any other text."""
    if len(text) > _TEXT_LIMIT:
        return None
    try:
        document = _Document.model_validate(json.loads(text))
    except (ValueError, ValidationError, RecursionError):  # another program's text under the same name
        return None
    return ImageRecipe(tuple(Provenance(**dict(step)) for step in document.steps), document.made_with)
