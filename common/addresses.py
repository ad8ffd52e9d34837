"""Where a call comes from, and whether an address lies within given networks (CIDR, IPv4 and IPv6).

What a client writes into `X-Forwarded-For` is believed of nobody but the proxies in `PERMETER_TRUSTED_PROXIES`: each of
those appends the address that it was called from, so the right-most one that is no trusted proxy is the client.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Protocol

from django.conf import settings

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


class HasFields(Protocol):
    """A request, as far as its header fields go, by the names that WSGI gives them."""

    @property
    def META(self) -> Mapping[str, Any]: ...  # noqa: N802 - Django's name


def client_address(request: HasFields) -> str:
    """The address that called, in its plain form (an IPv4 address mapped into IPv6 is the IPv4 one).

    That is the peer of the connection, or behind trusted proxies whom they name. Empty where the server knows of
    none, as on a Unix socket.
    """
    peer: str = request.META.get("REMOTE_ADDR", "")
    trusted: Sequence[str] = settings.PERMETER_TRUSTED_PROXIES
    if not trusted:
        return peer if ":" not in peer else _plain(peer)
    found = _address(peer)
    if found is None:
        return peer
    proxies = tuple(trusted)
    if not _within(found, proxies):
        return str(found)
    plain, standard = _forwarded_for(request), _forwarded(request)
    if plain and standard and _client(found, plain, proxies) != _client(found, standard, proxies):
        # A proxy writes one of the two, and the client the other: nothing says which.
        return str(found)
    return str(_client(found, plain or standard, proxies))


def is_within(address: str, networks: Iterable[str]) -> bool:
    """Whether the address lies in one of the networks. What is no address lies in none."""
    found = _address(address)
    return found is not None and _within(found, tuple(networks))


@lru_cache(maxsize=4096)
def parse_networks(networks: tuple[str, ...]) -> tuple[Network, ...]:
    """The networks that these texts name; bits below the mask are left out. Raises ValueError."""
    return tuple(ip_network(each, strict=False) for each in networks)


def _client(peer: Address, hops: Sequence[str], proxies: tuple[str, ...]) -> Address:
    """From the nearest hop on, the first that is no trusted proxy; one that cannot be read ends the way."""
    found = peer
    for hop in reversed(hops):
        named = _address(_without_port(hop))
        if named is None:
            return found
        found = named
        if not _within(found, proxies):
            return found
    return found


def _forwarded_for(request: HasFields) -> list[str]:
    field = request.META.get("HTTP_X_FORWARDED_FOR", "")
    return [hop.strip() for hop in field.split(",")] if field.strip() else []


def _forwarded(request: HasFields) -> list[str]:
    """The `for` of each element of the Forwarded field (RFC 7239); an element without one cannot be read."""
    field = request.META.get("HTTP_FORWARDED", "")
    if not field.strip():
        return []
    hops = []
    for element in field.split(","):
        pairs = dict(pair.strip().partition("=")[::2] for pair in element.split(";"))
        named = {name.lower(): value for name, value in pairs.items()}
        hops.append(named.get("for", "").strip('"'))
    return hops


def _without_port(hop: str) -> str:
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    return hop.partition(":")[0] if hop.count(":") == 1 else hop


def _plain(text: str) -> str:
    found = _address(text)
    return text if found is None else str(found)


@lru_cache(maxsize=4096)
def _address(text: str) -> Address | None:
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def _within(address: Address, networks: tuple[str, ...]) -> bool:
    return any(_covers(network, address) for network in parse_networks(networks))


def _covers(network: Network, address: Address) -> bool:
    if isinstance(network, IPv6Network) and isinstance(address, IPv4Address):
        # A network of mapped addresses means those that they stand for.
        return IPv6Address(b"\0" * 10 + b"\xff\xff" + address.packed) in network if network.prefixlen >= 96 else False
    return address in network
