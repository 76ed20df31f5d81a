"""What engines share that read models from folders and from the local cache of the Hugging Face Hub."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class PretrainedOptions(BaseModel):
    """Options of a model part that transformers reads."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    revision: str | None = Field(default=None, description="Commit of a source that is a repository's name.")
    allow_download: bool = Field(default=False, description="Fetch a source that is a repository's name.")


def pretrained(source: str, options: PretrainedOptions, *readers: Callable[..., Any]) -> list[Any]:
    """What each reader (a `from_pretrained`) makes of the source: a folder, or a repository's name.

    No code of the source is run, and `with_safetensors` reads no pickle. Raises FileNotFoundError where the source is
    not to be had or not whole.
    """
    if not options.allow_download and Path(source).is_absolute() and not Path(source).is_dir():
        raise FileNotFoundError(f"{source} is no folder: put the model's folder there, or correct `source`")
    silence_transformers()
    where = {"revision": options.revision} if options.revision else {}
    try:
        with nullcontext() if options.allow_download else offline():
            return [
                reader(source, local_files_only=not options.allow_download, trust_remote_code=False, **where)
                for reader in readers
            ]
    except (OSError, ValueError) as error:  # ValueError: settings of no model that transformers knows
        reason = str(error).strip().partition("\n")[0]
        raise FileNotFoundError(
            f"{source} is no whole model folder and not in the local cache ({reason}): correct `source`, or set the "
            "option allow_download: true to fetch it"
        ) from error


def with_safetensors(reader: Callable[..., Any]) -> Callable[..., Any]:
    """The reader of a network, which takes its weights from safetensors and from nothing else, as float32."""
    import torch

    def read(source: str, **where: Any) -> Any:
        return reader(source, use_safetensors=True, dtype=torch.float32, **where).eval()

    return read


@contextmanager
def offline() -> Iterator[None]:
    """Within it no library asks the Hugging Face Hub for anything: not for files, which local_files_only sees to, and
    not for the news that it asks for beside them."""
    from huggingface_hub import constants

    before, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def silence_transformers() -> None:
    """No progress bars, advice or telemetry. Errors are raised, so nothing of use is lost."""
    import transformers.utils.logging as transformers_logging
    from huggingface_hub import constants

    constants.HF_HUB_DISABLE_TELEMETRY = True
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
