"""The address that a request comes from, also when trusted proxies stand in between."""

import asyncio
import re
from collections.abc import Collection, Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import NamedTuple, TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

_MAPPED = "::ffff:"  # an IPv4 address on an IPv6 socket (RFC 4291, 2.5.5.2), as inet_ntop writes it
UNKNOWN = "unknown"  # the address of a Unix socket, or of a peer that has left
_MAPPED_BITS = 96  # before the IPv4 address in a mapped one
_FOR = re.compile(r'(?:^|;)\s*for="?([^;"]*)"?', re.IGNORECASE)
_WITH_PORT = re.compile(r"\[([^\]]*)\](?::\d+)?|([\d.]+):\d+")


class Forwarding(NamedTuple):
    """Where the proxies before the service say that a request comes from; empty if they do not."""

    x_forwarded_for: str
    forwarded: str  # RFC 7239


def peer_of(transport: asyncio.BaseTransport | None) -> str:
    """Give the address at the other end of a connection; empty on a Unix socket."""
    return address_in(transport and transport.get_extra_info("peername"))


def address_in(peername: object) -> str:
    """Give the address in a connection's `peername`; empty on a Unix socket."""
    return str(peername[0]) if isinstance(peername, tuple) else ""


def plain(address: str) -> str:
    """An address as an operator writes it: a mapped one, `::ffff:192.0.2.1`, is IPv4."""
    return address.removeprefix(_MAPPED) if "." in address else address


def plain_networks(networks: Iterable[Network]) -> list[Network]:
    """Networks with those of mapped addresses, as `::ffff:10.0.0.0/104`, written as IPv4."""
    return [_plain_network(network) for network in networks]


def _plain_network(network: Network) -> Network:
    if isinstance(network, IPv4Network) or network.prefixlen < _MAPPED_BITS:
        return network
    mapped = network.network_address.ipv4_mapped
    return network if mapped is None else IPv4Network((mapped, network.prefixlen - _MAPPED_BITS))


def origin(peer: str, forwarding: Forwarding, trusted: Collection[Network]) -> Address | None:
    """Find where a request comes from: the nearest address that is not a trusted proxy's.

    Each proxy appends the address that it was called from. Behind the nearest one that is not
    trusted nothing is believed, for anyone may write it.

    Returns:
        The address; None where there is none, as on a Unix socket.
    """
    if forwarding.x_forwarded_for:
        hops = forwarding.x_forwarded_for.split(",")
    else:
        hops = [_forwarded_for(element) for element in forwarding.forwarded.split(",")]
    nearest = None
    for hop in (peer, *reversed(hops)):
        address = _read(hop)
        if address is None:
            break
        nearest = address
        if not _is_in(address, trusted):
            break
    return nearest


def client_address(peer: str, forwarding: Forwarding, trusted: Collection[Network]) -> str:
    """Find the address that failed attempts are counted for: the `origin`, or its /64 for IPv6.

    One customer usually has a whole /64 (RFC 6177), and could use another address each time.
    """
    nearest = origin(peer, forwarding, trusted)
    if nearest is None:
        return UNKNOWN
    return str(nearest if nearest.version == 4 else IPv6Network((nearest, 64), strict=False))


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    address = _read(host)
    return host == "localhost" if address is None else address.is_loopback


def _forwarded_for(element: str) -> str:
    found = _FOR.search(element)
    return found[1] if found else ""


def _read(hop: str) -> Address | None:
    text = hop.strip()
    with_port = _WITH_PORT.fullmatch(text)
    try:
        address = ip_address((with_port[1] or with_port[2] or "") if with_port else text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _is_in(address: Address, networks: Iterable[Network]) -> bool:
    return any(address in network for network in networks)
