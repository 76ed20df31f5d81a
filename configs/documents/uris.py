"""Paths, s3:// and https:// URIs as documents write them: relative to the folder of the document."""

import ipaddress
import posixpath
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast
from urllib.parse import quote

Scheme = Literal["https", "http"]

_FORM = re.compile(r"(https?)://([^/?#]*)(/[^?#]*)?(\?[^#]*)?(#.*)?", re.DOTALL)
_PORTS: dict[Scheme, int] = {"https": 443, "http": 80}
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMERIC = re.compile(r"[0-9]+|0x[0-9a-f]*")
_QUADS = re.compile(r"(0|[1-9][0-9]{0,2})(\.(0|[1-9][0-9]{0,2})){3}")
_LOWEST_FREE_PORT = 1024


@dataclass(frozen=True, slots=True)
class WebAddress:
    """A server and what to request from it.

    `host` is a name in lower case without a dot at its end, or the shortest form of an IP address.
    """

    scheme: Scheme
    host: str
    port: int
    target: str  # path and query, at least "/"

    @classmethod
    def parse(cls, text: str) -> "WebAddress":
        """Parse an address. Raises ValueError, whose message repeats nothing of the text, for it may hold a secret."""
        form = _FORM.fullmatch(text)
        if form is None:
            raise ValueError("must have the form https://host/path")
        if not text.isascii() or not text.isprintable() or " " in text or "\\" in text:
            raise ValueError("must be printable ASCII without blanks or backslashes: write %20 for a blank and so on")
        scheme = cast("Scheme", form[1])
        authority: str = form[2]
        if "@" in authority:
            raise ValueError("must not hold a user name or password (`user:password@`): use a signed link")
        host, port = _split(authority)
        return cls(scheme, _checked_host(host), _checked_port(port, scheme), (form[3] or "/") + (form[4] or ""))

    @property
    def ip(self) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
        """The address, if the host is one and not a name."""
        try:
            return ipaddress.ip_address(self.host)
        except ValueError:
            return None

    @property
    def authority(self) -> str:
        """Host and port as a Host header has them; the port only where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.target}"


def _split(authority: str) -> tuple[str, str]:
    if authority.startswith("["):
        host, bracket, port = authority.partition("]")
        if not bracket or (port and not port.startswith(":")):
            raise ValueError("must have the form https://[address]/path for an IPv6 address")
        return host + bracket, port.removeprefix(":")
    host, _, port = authority.partition(":")
    return host, port


def _checked_host(host: str) -> str:
    if host.startswith("["):
        if "%" in host:
            raise ValueError("must not name a network interface (`%…`) in its address")
        try:
            return str(ipaddress.IPv6Address(host[1:-1]))
        except ValueError:
            raise ValueError("must have the form https://[address]/path for an IPv6 address") from None
    name = host.lower().removesuffix(".")
    if not name:
        raise ValueError("must name a host, as in https://host/path")
    labels = name.split(".")
    if _NUMERIC.fullmatch(labels[-1]):
        # Some readers take 2130706433, 0x7f.1 and 0177.0.0.1 for 127.0.0.1: here there is one spelling.
        if not _QUADS.fullmatch(name) or any(int(part) > 255 for part in labels):
            raise ValueError("must write an IP address as four decimal numbers, such as 192.0.2.1")
        return name
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError("must name a host in letters, digits, `-` and `.` (other scripts as xn--…)")
    return name


def _checked_port(port: str, scheme: Scheme) -> int:
    if not port:
        return _PORTS[scheme]
    number = int(port) if re.fullmatch(r"[0-9]{1,5}", port) else 0
    # Below lie mail, name and login services, which must not be made to read requests.
    if not (number in _PORTS.values() or _LOWEST_FREE_PORT <= number < 65536):
        raise ValueError("must name port 80, 443 or one from 1024 to 65535")
    return number


S3 = "s3://"
WEB = ("https://", "http://")
_BUCKET = re.compile(r"s3://[A-Za-z0-9][A-Za-z0-9.\-_]{1,254}(/.*)?", re.DOTALL)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]+://")
_IN_PATHS = "/%:@!$&'()*+,;=~"  # what a URL's path may hold beside letters, digits and -._


def check_uri(text: str) -> str:
    """Return the text. Raises ValueError unless it is a path, an s3:// URI with a bucket, or an https:// URI."""
    if text.startswith(WEB):
        WebAddress.parse(text)
        return text
    return check_place(text, "a path, an s3:// or an https:// URI")


def check_place(text: str, wanted: str = "a path or an s3:// URI") -> str:
    """Return the text. Raises ValueError unless it is a path or an s3:// URI, which can be written to."""
    if not text.strip():
        raise ValueError("must not be empty")
    if text.startswith(S3):
        if not _BUCKET.fullmatch(text):
            raise ValueError("must have the form s3://bucket/key")
        if not {".", ".."}.isdisjoint(text.split("/")):
            raise ValueError("must not hold `.` or `..` between slashes")
    elif scheme := _SCHEME.match(text):
        raise ValueError(f"must be {wanted}, not {scheme[0]}…")
    return text


def is_web(uri: str) -> bool:
    """Whether it is an https:// or http:// URI."""
    return uri.startswith(WEB)


def is_remote(uri: str) -> bool:
    """Return whether it lies outside this machine's file system."""
    return uri.startswith((S3, *WEB))


def shown(uri: str) -> str:
    """Return the URI without the query of a web address, which may be a signature."""
    return re.split(r"[?#]", uri, maxsplit=1)[0] if is_web(uri) else uri


def resolve(text: str, folder: str) -> str:
    """Return an absolute path, or an s3:// or web URI; relative paths start at `folder`, itself one of these."""
    if is_remote(text):
        return text
    path = _with_home(text)
    if path.is_absolute():
        return posixpath.normpath(path)
    if not is_remote(folder):
        return posixpath.normpath(Path(folder, path).absolute())
    if is_web(folder):
        plain, mark, query = text.partition("?")
        return _joined(folder, quote(plain, safe=_IN_PATHS)) + mark + quote(query, safe=_IN_PATHS + "?")
    return _joined(folder, text)


def folder_of(uri: str) -> str:
    """Return the folder that holds a file, as `resolve` takes it."""
    return shown(uri).rsplit("/", 1)[0] if is_remote(uri) else str(Path(uri).absolute().parent)


def stem_of(uri: str) -> str:
    """Return the file's name without its ending; never a part of a web address's query."""
    return Path(shown(uri)).stem


def _joined(folder: str, path: str) -> str:
    """Return the path below a remote folder; it does not leave the bucket or the host."""
    scheme, _, rest = folder.partition("://")
    root, _, prefix = rest.partition("/")
    return f"{scheme}://{root}{posixpath.normpath(posixpath.join('/', prefix, path))}"


def _with_home(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError:  # `~name` of no user of this machine: a file of that name, then
        return Path(text)
