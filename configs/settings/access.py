"""Where jobs may read and write: the operator's settings, applied to what a job file names."""

import ipaddress
import os
from collections.abc import Iterator
from pathlib import Path

from configs.documents import uris
from configs.documents.uris import WebAddress
from configs.settings.settings import Settings

IP = ipaddress.IPv4Address | ipaddress.IPv6Address

# RFC 6052, RFC 8215: a gateway sends what goes there to the IPv4 address in the last 32 bits.
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_LOCAL_NAT64 = ipaddress.IPv6Network("64:ff9b:1::/48")
# Where clouds give their credentials to any process of a machine, at addresses that look like others.
_METADATA = {
    ipaddress.ip_address(address): cloud
    for address, cloud in {
        "fd00:ec2::254": "AWS",
        "168.63.129.16": "Azure",
        "100.100.100.200": "Alibaba Cloud",
        "192.0.0.192": "Oracle Cloud",
    }.items()
}


def objection_to(address: IP, *, private: bool) -> str | None:
    """Return why no request may go to the address, or None. `private` allows this machine and the local network.

    Link-local, multicast, reserved and clouds' metadata addresses are always refused. An address that stands for
    another one (IPv4 in IPv6, tunnels, NAT64) is refused if either is.
    """
    for each in _meant(address):
        if (kind := _forbidden(each)) is not None:
            return f"{address} is {kind}: no request goes there"
        if not private and not _is_public(each):
            return f"{address} is an address of this machine or a private network (set PIXELMILL_INPUT_PRIVATE_HOSTS)"
    return None


def _meant(address: IP) -> Iterator[IP]:
    if isinstance(address, ipaddress.IPv4Address):
        yield address
        return
    address = ipaddress.IPv6Address(int(address))  # without the name of an interface, with which it equals no other
    yield address
    if address in _NAT64 or address in _LOCAL_NAT64:
        yield ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if int(address) >> 32 == 0 and int(address) > 1:  # ::a.b.c.d, long out of use
        yield ipaddress.IPv4Address(int(address))
    for inner in (address.ipv4_mapped, address.sixtofour, *(address.teredo or ())):
        if inner is not None:
            yield inner


def _forbidden(address: IP) -> str | None:
    if address in _METADATA:
        return f"where {_METADATA[address]} keeps credentials"
    if address.is_unspecified:
        return "not an address of a server"
    if address.is_link_local:
        return "link-local, where clouds keep credentials"
    if address.is_multicast:
        return "for multicast"
    if isinstance(address, ipaddress.IPv4Address) and address.is_reserved:
        return "reserved"
    return None


def _is_public(address: IP) -> bool:
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None or address.sixtofour is not None or address.teredo is not None:
            return True  # the inner address is checked itself
        if address.is_site_local or address.is_reserved:
            return address in _NAT64
    return address.is_global


class Access:
    """The limits of this process's settings. Looks at no network; follows symbolic links of paths."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._folders = [_real(folder) for folder in settings.input_folders]

    def objection_to_reading(self, uri: str) -> str | None:
        """Return why a job may not read an absolute path or a URI, or None if it may.

        The names of hosts are not looked up: the sender of a request checks its address.
        """
        if uris.is_web(uri):
            try:
                return self.objection_to_asking(WebAddress.parse(uri))
            except ValueError as error:
                return str(error)
        if uri.startswith(uris.S3):
            return self._scheme("s3") or self._bucket(uri)
        return self._scheme("file") or self._path(uri)

    def objection_to_asking(self, address: WebAddress) -> str | None:
        """Return why a job may not send a request to a web address, such as one from a redirect, or None."""
        if (objection := self._scheme(address.scheme)) is not None:
            return objection
        allowed = self._settings.input_hosts
        if allowed and not any(_matches(address.host, each) for each in allowed):
            return f"the host {address.host} is not allowed here (PIXELMILL_INPUT_HOSTS: {', '.join(allowed)})"
        ip = address.ip
        return None if ip is None else objection_to(ip, private=self._settings.input_private_hosts)

    def objection_to_writing(self, target: str) -> str | None:
        """Return why a job may not write below an absolute path or s3://bucket/prefix, or None if it may."""
        allowed = self._settings.output_roots
        if not allowed or any(_is_below(target, root) for root in allowed):
            return None
        return f"nothing may be written there (PIXELMILL_OUTPUT_ROOTS: {', '.join(allowed)})"

    @property
    def limits_folders(self) -> bool:
        """Whether some folders of this machine may be read and others not."""
        return bool(self._folders)

    def is_inside(self, path: str) -> bool:
        """Return whether a real path, without symbolic links, lies in a folder that jobs may read."""
        return not self._folders or any(Path(path).is_relative_to(folder) for folder in self._folders)

    def _scheme(self, scheme: str) -> str | None:
        allowed = self._settings.input_schemes
        if scheme in allowed:
            return None
        kind = "a file on this machine" if scheme == "file" else f"{scheme}://"
        return f"{kind} is not allowed here (PIXELMILL_INPUT_SCHEMES: {', '.join(allowed)})"

    def _bucket(self, uri: str) -> str | None:
        bucket = uri.removeprefix(uris.S3).partition("/")[0]
        allowed = self._settings.input_buckets
        if not allowed or bucket in allowed:
            return None
        return f"the bucket {bucket} is not allowed here (PIXELMILL_INPUT_BUCKETS: {', '.join(allowed)})"

    def _path(self, path: str) -> str | None:
        if self.is_inside(_real(path)):
            return None
        folders = ", ".join(str(folder) for folder in self._settings.input_folders)
        return f"{path} is not in a folder that jobs may read (PIXELMILL_INPUT_FOLDERS: {folders})"


def _matches(host: str, allowed: str) -> bool:
    """`*.example.com` stands for all names below example.com, but not for itself."""
    allowed = allowed.lower()
    return host.endswith(allowed[1:]) if allowed.startswith("*.") else host == allowed


def _is_below(target: str, root: str) -> bool:
    if target.startswith(uris.S3) or root.startswith(uris.S3):
        return f"{target}/".startswith(f"{root.rstrip('/')}/")  # neither holds `..`: see configs.documents.uris
    return Path(_real(target)).is_relative_to(_real(root))


def _real(path: str | Path) -> str:
    """Return the path without symbolic links, as far as it exists; the null device for an impossible path."""
    try:
        return os.path.realpath(Path(path).expanduser())
    except (ValueError, RuntimeError):  # NUL in it, or the home of an unknown user
        return os.devnull
