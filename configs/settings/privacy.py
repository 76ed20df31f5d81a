"""Files for their owner alone, and texts without secrets: ledger and logs hold prompts and signed addresses."""

import json
import os
import re
import stat
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from pydantic import SecretStr

from configs.settings.settings import Settings

_OTHERS = stat.S_IRWXG | stat.S_IRWXO

_making = threading.Lock()  # a new file is closed by its maker before any thread connects to it


def private_folder(path: Path) -> Path:
    """Make the folder and its parents, for this user alone, and return it.

    An existing folder keeps its rights: it may be shared on purpose. Raises OSError.
    """
    if not path.is_dir():
        private_folder(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)
    return path


def own_folder(path: Path) -> Path:
    """Make a folder of Pixelmill's own like `private_folder`; other users lose their rights to an existing one."""
    private_folder(path)
    mode = path.stat().st_mode
    if mode & _OTHERS:
        with suppress(OSError):  # the folder of another user, or a file system without rights
            path.chmod(stat.S_IMODE(mode) & ~_OTHERS)
    return path


def private_file(path: Path) -> None:
    """Make an empty file for this user alone, if there is none. Raises OSError.

    An existing file is not opened: by POSIX, closing it would drop all locks of this process on it, which would harm
    a database in use (https://sqlite.org/howtocorrupt.html, section 2.2).
    """
    with _making, suppress(FileExistsError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


MASK = "***"
# As passwords these protect nothing, and masked they would make every other line unreadable.
COMMON = {"pixelmill", "prefect", "postgres"}
SHORTEST_PATH = 20  # characters: a shorter path, such as `/hooks/pixelmill`, is not a secret
SHORTEST = 6  # characters: a shorter value, such as `true`, would be masked everywhere

# All of them bounded, so that no text of many beginnings takes the square of its length.
_WEB_QUERY = re.compile(r"(https?://[^\s?#'\"<>`]{1,2048}[?#])[^\s'\"<>`]+", re.IGNORECASE)
_SECRETS = re.compile(
    r"(?P<url>://)[^/\s:@]{0,256}:[^/\s@]{1,1024}@"
    r"|(?P<query>[?&](?:X-Amz-(?:Signature|Credential|Security-Token)|token|key|sig|signature|password)=)[^&\s'\"]+"
    r"|(?P<header>\bauthorization['\"]?\s*[:=]\s*['\"]?)(?:(?:Bearer|Basic)\s+)?[^\s'\",]+"
    r"|\b(?P<id>AKIA|ASIA)[0-9A-Z]{16}\b",
    re.IGNORECASE,
)
_SECRET_NAME = re.compile(
    r"(?:^|_)(?:SECRET|PASSWORD|PASSWD|TOKEN|API_KEY|ACCESS_KEY|AUTH_STRING|CREDENTIALS?)(?!.*_(?:FILE|PATH|ID)$)(?:_|$)",
    re.IGNORECASE,
)
_PASSWORD = re.compile(r"://[^/\s:@]*:(?P<password>\S{1,1024})@")


def without_secrets(text: str) -> str:
    """Return the text without the secrets of this process's environment, and without what looks like one.

    The latter are passwords in URLs, queries of web addresses, authorization headers and access key ids.
    """
    return Redactor(_secrets_in(os.environ))(text)


def _by_looks(text: str) -> str:
    def mask(match: re.Match[str]) -> str:
        kept = next((match[name] for name in ("url", "query", "header", "id") if match[name]), "")
        return f"{kept}{MASK}@" if match["url"] else f"{kept}{MASK}"

    return _SECRETS.sub(mask, _WEB_QUERY.sub(lambda match: f"{match[1][:-1]}?{MASK}", text))


def known_secrets(settings: Settings, environment: Mapping[str, str]) -> frozenset[str]:
    """Return secret settings, a long path of the webhook's URL, variables with secret names, and passwords in URLs."""
    secrets: set[str] = set()
    fields = (getattr(settings, name) for name in Settings.model_fields)
    for value in (field.get_secret_value() for field in fields if isinstance(field, SecretStr)):
        secrets.update(_passwords(value) or {value})
    # The path of an address that stays private: services keep their tokens there.
    path = urlsplit(settings.webhook_url or "").path.strip("/")
    if len(path) >= SHORTEST_PATH:
        secrets.add(path)
    return _worth_masking(secrets) | _secrets_in(environment)


def _secrets_in(environment: Mapping[str, str]) -> frozenset[str]:
    secrets: set[str] = set()
    for name, value in environment.items():
        secrets.update(_passwords(value))
        if _SECRET_NAME.search(name):
            # The password of `user:password` is a secret as well.
            secrets.update({value, value.partition(":")[2]})
    return _worth_masking(secrets)


def _worth_masking(secrets: Iterable[str]) -> frozenset[str]:
    return frozenset(secret for secret in secrets if len(secret) >= SHORTEST and secret not in COMMON)


class Redactor:
    """Masks secrets by their values, however they are quoted, and by their looks."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        forms = {form for secret in secrets for form in _forms(secret)}
        # The longest first: a secret may be part of another one.
        alternatives = "|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True))
        self._known = re.compile(alternatives) if alternatives else None

    def __call__(self, text: str) -> str:
        return _by_looks(self._known.sub(MASK, text) if self._known is not None else text)


def _passwords(text: str) -> set[str]:
    return {match["password"] for match in _PASSWORD.finditer(text)}


def _forms(secret: str) -> set[str]:
    plain = {secret, unquote(secret), quote(secret, safe="")}
    return plain | {repr(form)[1:-1] for form in plain} | {json.dumps(form)[1:-1] for form in plain}
