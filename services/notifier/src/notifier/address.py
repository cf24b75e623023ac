"""Where a webhook may go: its host is resolved, every address is judged, and the connection is made to a judged one.

Against server-side request forgery: only public addresses, unless the operator allows a network. The name is not
resolved a second time, so a name server that changes its answer in between gains nothing.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, TypeAlias

from notifier.errors import AddressRefused

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_NAT64: Final = ip_network("64:ff9b::/96")
_IPV4_COMPATIBLE: Final = ip_network("::/96")
_NOT_PUBLIC: Final = tuple(
    ip_network(network)
    for network in (
        "100.64.0.0/10",  # carrier-grade NAT; Alibaba's metadata service
        "168.63.129.16/32",  # Azure's virtual host, in public space
        "192.0.0.0/24",  # protocol assignments; Oracle's metadata service
        "192.88.99.0/24",  # 6to4 relays
        "198.18.0.0/15",  # benchmarks
        "64:ff9b:1::/48",  # local-use translation
        "fec0::/10",  # site-local, deprecated and still routed
    )
)
"""What `is_global` of some Python versions lets through, or what is public by number and private by use."""


Resolver: TypeAlias = Callable[[str, int], Awaitable[Sequence[Address]]]
"""Host and port to addresses; the system's own outside tests. Raises OSError."""


@dataclass(frozen=True, slots=True)
class Policy:
    """Which addresses webhooks may reach. `allowed` networks are reached though not public, and also by plain http."""

    allowed: tuple[Network, ...] = ()

    def permits(self, address: Address, scheme: str) -> bool:
        """Whether this address may be reached under this scheme."""
        effective = unwrapped(address)
        if any(effective in network for network in self.allowed):
            return True
        return scheme == "https" and is_public(effective)


def is_public(address: Address) -> bool:
    """Whether this is an ordinary public unicast address."""
    listed = any(address in network for network in _NOT_PUBLIC)
    return address.is_global and not address.is_multicast and not address.is_reserved and not listed


def unwrapped(address: Address) -> Address:
    """The IPv4 address inside an IPv6 one that leads to it (mapped, compatible, NAT64, 6to4, Teredo), else itself."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64 or (address in _IPV4_COMPATIBLE and int(address) > 1):
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    teredo = address.teredo
    return address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else None) or address


async def checked_addresses(
    scheme: str, host: str, port: int, *, policy: Policy, resolve: Resolver
) -> tuple[Address, ...]:
    """The host's addresses, if every one of them may be reached. Raises AddressRefused, without naming the address."""
    try:
        found = tuple(dict.fromkeys(await resolve(host, port)))
    except OSError as error:
        raise AddressRefused(f"url: {host} cannot be resolved") from error
    if not found:
        raise AddressRefused(f"url: {host} has no address")
    if not all(policy.permits(address, scheme) for address in found):
        raise AddressRefused(_refusal(scheme, host, found))
    return found


def _refusal(scheme: str, host: str, found: Iterable[Address]) -> str:
    if scheme != "https" and all(is_public(unwrapped(address)) for address in found):
        return "url: https is required"
    return f"url: {host} leads to an address that webhooks may not reach"


async def system_resolver(host: str, port: int) -> Sequence[Address]:
    """The machine's resolver. Raises OSError."""
    loop = asyncio.get_running_loop()
    try:
        answers = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise OSError(f"{host!r} is not a host name") from error
    return [ip_address(sockaddr[0]) for *_, sockaddr in answers]
