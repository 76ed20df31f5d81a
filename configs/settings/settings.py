"""Settings from the environment (`PIXELMILL_*`), with the defaults of one machine."""

import os
import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, AliasChoices, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from configs.documents.problems import InvalidInput, Problem, nearest, problems_of
from configs.settings.warm_windows import EXAMPLE, check_warm_windows

PREFIX = "PIXELMILL_"


def _split(separator: str) -> BeforeValidator:
    """Return a validator that splits texts from the environment at a separator."""

    def split(value: Any) -> Any:
        return [part.strip() for part in value.split(separator) if part.strip()] if isinstance(value, str) else value

    return BeforeValidator(split)


def _host(text: str) -> str:
    if not _HOST.fullmatch(text):
        raise ValueError("must be the name or address of a host, or *.name for all below it, without port or path")
    return text.lower()


_HOST = re.compile(r"(\*\.)?[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?|[0-9A-Fa-f:]+")


def _absolute(path: Path) -> Path:
    """Return the path from the root: a process that is handed these settings may run in another folder."""
    try:
        return path.expanduser().absolute()
    except RuntimeError as unknown:
        raise ValueError("begins with ~ and a user that this machine does not know") from unknown


def _absolute_file(url: SecretStr) -> SecretStr:
    """Likewise for the file of an SQLite URL."""
    scheme, given, file = url.get_secret_value().partition(":///")
    if not (given and scheme.startswith("sqlite")) or not file or file.startswith((":", "file:")):
        return url
    return SecretStr(f"{scheme}:///{_absolute(Path(file))}")


def _web_url(text: str) -> str:
    try:
        parts = urlsplit(text)
        is_web = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:  # a port that is not a number
        is_web = False
    if not is_web:
        raise ValueError("must be an address that begins with https:// or http:// and a host")
    return text


def _absolute_root(root: str) -> str:
    return root if "://" in root else str(_absolute(Path(root)))


Folder = Annotated[Path, AfterValidator(_absolute)]
Paths = Annotated[tuple[Folder, ...], NoDecode, _split(os.pathsep)]
Names = Annotated[tuple[str, ...], NoDecode, _split(",")]
WebUrl = Annotated[str, AfterValidator(_web_url)]
Roots = Annotated[tuple[Annotated[str, AfterValidator(_absolute_root)], ...], NoDecode, _split(",")]
Hosts = Annotated[tuple[Annotated[str, AfterValidator(_host)], ...], NoDecode, _split(",")]
Schemes = Annotated[tuple[Literal["file", "s3", "https", "http"], ...], NoDecode, _split(",")]


class Settings(BaseSettings):
    """Everything an operator can set. Read once per process, at its edge, and handed down."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,
        extra="ignore",
        frozen=False,
        populate_by_name=True,  # also those that have aliases
        allow_inf_nan=False,
    )

    home: Folder = Field(
        default=Path("~/.pixelmill"), validate_default=True, description="Folder of the local ledger, server and logs."
    )
    ledger_url: Annotated[SecretStr, AfterValidator(_absolute_file)] | None = Field(
        default=None, description="SQLAlchemy URL of the ledger; default: SQLite in the home folder."
    )
    device: Literal["auto", "cuda", "mps", "cpu"] = Field(default="auto", description="Where models run.")
    micro_batch: int = Field(default=8, ge=1, le=256, description="Images a step computes together, at most.")
    chunk_size: int = Field(default=64, ge=1, le=256, description="Items of one Prefect task run.")
    shard_size: int = Field(default=500, ge=1, le=10_000, description="Items of one shard (a Prefect flow run).")
    max_items: int = Field(default=1_000_000, ge=1, description="A larger job is refused.")
    max_pixels: int = Field(default=64_000_000, ge=1, description="A larger input image is refused, pixels.")
    input_schemes: Schemes = Field(
        default=("file", "s3", "https"),
        description="Where jobs may read job files, tables, recipes and images; file: on this machine.",
    )
    input_folders: Paths = Field(
        default=(), description="The only folders of this machine that jobs may read, if any is named."
    )
    input_buckets: Names = Field(default=(), description="The only buckets that jobs may read, if any is named.")
    input_hosts: Hosts = Field(
        default=(), description="The only web hosts that jobs may read, if any is named; `*.example.com`: all below it."
    )
    input_private_hosts: bool = Field(
        default=False, description="Jobs may read web hosts of this machine and of private networks."
    )
    input_redirects: int = Field(default=3, ge=0, le=20, description="Redirects that a web input may take.")
    input_timeout: float = Field(
        default=60.0, ge=1, description="Seconds in which a web input must have come, in each try."
    )
    input_attempts: int = Field(default=4, ge=1, le=50, description="Tries of one web input, with jittered waits.")
    input_image_mb: int = Field(default=128, ge=1, le=4096, description="A larger input image or mask is refused, MB.")
    input_table_mb: int = Field(default=512, ge=1, le=4096, description="A larger item table is refused, MB.")
    output_roots: Roots = Field(
        default=(), description="The only folders and s3://bucket/prefixes that jobs may write to, if any is named."
    )
    portable_names: bool = Field(
        default=True, description="Refuse names of items that are no names of files on Windows."
    )
    vram_budget_mb: int = Field(
        default=0, ge=0, description="Device memory for resident models, MB; 0: all that the device has."
    )
    price_per_hour: float = Field(
        default=0, ge=0, description="What an hour of this worker's device costs, in a currency of your choice."
    )
    writer_threads: int = Field(default=2, ge=1, le=64, description="Threads that encode, hash and upload.")
    writer_queue: int = Field(default=64, ge=1, le=4096, description="Images that may wait to be written.")
    keep_warm: Names = Field(
        default=(), description="Models to load before work comes and to keep, separated by commas."
    )
    warm_windows: Annotated[str | None, AfterValidator(check_warm_windows)] = Field(
        default=None, description=f"When to keep them: hours of a time zone, such as `{EXAMPLE}`; default: always."
    )
    idle_timeout: float = Field(
        default=0,
        ge=0,
        description="Seconds after which idle models leave, those kept warm excepted; 0: never, outside warm windows "
        "at once.",
    )
    metrics_port: int = Field(
        default=0, ge=0, le=65535, description="Port of a worker's Prometheus metrics, one for each worker; 0: none."
    )
    metrics_host: str = Field(
        default="127.0.0.1", description="Address to serve them at; default: for this machine only."
    )
    log_format: Literal["text", "json"] = Field(
        default="text", description="How processes log: lines for people, or a JSON object a line."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info",
        description="The least of Pixelmill's own messages that are logged; Prefect's: PREFECT_LOGGING_LEVEL.",
    )
    models_path: Paths = Field(default=(), description="More folders of model files, searched first.")
    recipes_path: Paths = Field(default=(), description="More folders of recipes, searched first.")
    deployments_path: Paths = Field(default=(), description="More folders of deployments, searched first.")
    catalogue_path: Paths = Field(default=(), description="More catalogue files: steps and engines of your own.")
    gates_path: Paths = Field(default=(), description="More files of gates, or folders of them, searched first.")
    work_pool: str = Field(default="gpu", description="Prefect work pool of the GPU workers.")
    output: str = Field(default="./out", description="Where forms of the Prefect UI put their images by default.")
    gallery_url: WebUrl | None = Field(
        default=None, description="Address at which `pixelmill serve` is reached, for links in the Prefect UI."
    )
    webhook_url: WebUrl | None = Field(default=None, description="Receives a message when a job finishes or fails.")
    webhook_secret: SecretStr | None = Field(default=None, description="Signs the messages to the webhook.")
    working_folder: Folder | None = Field(
        default=None,
        description="Where relative paths given to the burst deployment start; default: its process's own.",
    )
    max_bursts: int = Field(
        default=4, ge=1, le=256, description="Bursts and other forms that `pixelmill up` runs at once; the rest waits."
    )
    history_days: int = Field(
        default=90,
        ge=0,
        le=36_500,
        description="Days that the server of `pixelmill up` keeps flow runs with logs and artifacts; 0: forever.",
    )
    interactive_items: int = Field(
        default=100, ge=0, description="Jobs with at most so many items to do come before larger ones."
    )
    shard_attempts: int = Field(
        default=3, ge=1, le=20, description="Times in a row that a shard may be started without ending an item."
    )
    shard_timeout: float = Field(
        default=60.0, ge=30, description="Seconds without a sign of life after which a shard is taken for lost."
    )
    review_timeout: float = Field(
        default=14 * 24 * 3600,
        ge=1,
        le=10 * 365 * 24 * 3600,
        description="Seconds that a burst waits for people's decisions, if its job wants that, before it ends.",
    )
    max_failed_share: float = Field(
        default=0.2, ge=0, le=1, description="A job with a larger share of failed items stops early; 1: never."
    )
    max_failed_after: int = Field(
        default=50, ge=1, description="Items that must have ended before that share is looked at."
    )
    s3_endpoint_url: WebUrl | None = Field(
        default=None,
        validation_alias=AliasChoices("PIXELMILL_S3_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
        description="S3 server other than AWS. Credentials come from the ordinary AWS variables or profile.",
    )
    s3_multipart_mb: int = Field(default=16, ge=5, le=5000, description="Larger objects go up in parts, MB.")
    s3_attempts: int = Field(default=8, ge=1, le=50, description="Tries of one S3 request, with jittered waits.")

    @cached_property
    def resolved_ledger_url(self) -> str:
        """The ledger's URL, secrets included: never log it."""
        if self.ledger_url is not None:
            return self.ledger_url.get_secret_value()
        return f"sqlite:///{self.home.expanduser().resolve() / 'ledger.db'}"

    def as_environment(self) -> dict[str, str]:
        """Return the variables from which another process reads these settings. They hold secrets: never log them."""
        return {variable_of(name): _as_text(getattr(self, name)) for name in sorted(self.model_fields_set)}


def _as_text(value: Any) -> str:
    if value is None:
        return ""  # counts as unset
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, tuple):
        separator = os.pathsep if any(isinstance(part, Path) for part in value) else ","
        return separator.join(str(part) for part in value)
    return str(value)


def load_settings() -> Settings:
    """Return the settings of this process's environment. Raises InvalidInput with the mistakes of all variables.

    A `PIXELMILL_` variable that nearly spells a setting is a mistake too; others may belong to containers or scripts.
    """
    problems = [*_misspelled()]
    try:
        settings = Settings()
    except ValidationError as error:
        errors = error.errors(include_url=False)
        given = {str(details["loc"][0]): details.get("input") for details in errors}
        for each in problems_of(errors, Settings, given):
            # Every variable is a text.
            problems.append(Problem(variable_of(each.path), each.message.replace(", not the text ", ", not ")))
        raise InvalidInput(problems) from None
    if problems:
        raise InvalidInput(problems)
    return settings


def variable_of(field: str) -> str:
    """Return the environment variable of a setting."""
    return field if field.isupper() else PREFIX + field.upper()


def _misspelled() -> Iterator[Problem]:
    known = [variable_of(field) for field in Settings.model_fields]
    for name in sorted(os.environ):
        is_unknown = name.upper().startswith(PREFIX) and name.upper() not in known
        if is_unknown and (near := nearest(name.upper(), known, cutoff=88)):
            yield Problem(name, f"unknown setting; did you mean `{near[0]}`?")
