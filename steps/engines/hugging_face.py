"""The common part of engines that read models from folders and from the local cache of the Hugging Face Hub."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from pydantic import Field

from configs.documents.fields import Schema


class PretrainedOptions(Schema):
    """Options of a model part that transformers or diffusers reads."""

    revision: str | None = Field(default=None, description="Commit of a source that is a repository's name.")
    allow_download: bool = Field(default=False, description="Fetch a source that is a repository's name.")


def pretrained(source: str, options: PretrainedOptions, *readers: Callable[..., Any]) -> list[Any]:
    """Return the result of each reader (a `from_pretrained`) for the source: a folder, or a repository's name.

    No code of the source is run, and `with_safetensors` reads no pickle. Raises FileNotFoundError where the source is
    missing or incomplete.
    """
    if not options.allow_download and Path(source).is_absolute() and not Path(source).is_dir():
        raise FileNotFoundError(f"{source} is not a folder: put the model's folder there, or correct `source`")
    silence_transformers()
    where = {"revision": options.revision} if options.revision else {}
    try:
        with nullcontext() if options.allow_download else offline():
            return [
                reader(source, local_files_only=not options.allow_download, trust_remote_code=False, **where)
                for reader in readers
            ]
    except (OSError, ValueError) as error:  # ValueError: settings of a model that transformers lacks
        reason = str(error).strip().partition("\n")[0]
        raise FileNotFoundError(
            f"{source} is not a whole model folder and not in the local cache ({reason}): correct `source`, or set the "
            "option allow_download: true to fetch it"
        ) from error


def with_safetensors(reader: Callable[..., Any]) -> Callable[..., Any]:
    """Return the reader of a network, which takes its weights from safetensors and from nothing else, as float32."""
    import torch

    def read(source: str, **where: Any) -> Any:
        return reader(source, use_safetensors=True, dtype=torch.float32, **where).eval()

    return read


@contextmanager
def offline() -> Iterator[None]:
    """Keep libraries from requests to the Hugging Face Hub: `local_files_only` stops those for files only."""
    from huggingface_hub import constants

    before, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def silence_transformers() -> None:
    """Turn off progress bars, advice and telemetry. Errors are raised, so nothing of use is lost."""
    import transformers.utils.logging as transformers_logging
    from huggingface_hub import constants

    constants.HF_HUB_DISABLE_TELEMETRY = True
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
