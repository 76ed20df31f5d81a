"""Which IP addresses a request may go to."""

import ipaddress
from collections.abc import Iterator

IP = ipaddress.IPv4Address | ipaddress.IPv6Address

# RFC 6052, RFC 8215: a gateway sends what goes there to the IPv4 address in the last 32 bits.
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_LOCAL_NAT64 = ipaddress.IPv6Network("64:ff9b:1::/48")
# Where clouds tell any process of a machine its credentials, at addresses that look like others.
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
    """Why no request may go to the address, or None. `private`: to this machine and the local network it may.

    Link-local, multicast, reserved and clouds' metadata addresses are always refused. Of an address that stands for
    another one (IPv4 in IPv6, tunnels, NAT64) the other one counts as well.
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
        return "no address of a server"
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
            return True  # what is meant by it is looked at
        if address.is_site_local or address.is_reserved:
            return address in _NAT64
    return address.is_global
