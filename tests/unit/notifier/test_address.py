from collections.abc import Sequence
from ipaddress import ip_address, ip_network

import pytest

from notifier.address import Address, Policy, Resolver, checked_addresses, system_resolver
from notifier.errors import AddressRefused

PUBLIC = ["93.184.216.34", "8.8.8.8", "2606:4700::1111"]
NOT_PUBLIC = [
    "0.0.0.0",
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.1.2.3",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",
    "192.0.2.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "2001:db8::1",
    "2001:0:0:0:0:0:80ff:fffe",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fec0::1",
    "ff02::1",
]


def resolver(*addresses: str) -> Resolver:
    """Answers the same addresses whatever is asked."""

    async def resolve(_: str, __: int) -> Sequence[Address]:
        return [ip_address(address) for address in addresses]

    return resolve


@pytest.mark.parametrize("address", PUBLIC)
async def test_public_addresses_are_reached_by_https(address: str) -> None:
    found = await checked_addresses("https", "x.example", 443, policy=Policy(), resolve=resolver(address))
    assert found == (ip_address(address),)


@pytest.mark.parametrize("address", NOT_PUBLIC)
async def test_other_addresses_are_refused(address: str) -> None:
    with pytest.raises(AddressRefused, match="may not reach"):
        await checked_addresses("https", "x.example", 443, policy=Policy(), resolve=resolver(address))


async def test_one_bad_address_among_good_ones_refuses_the_host() -> None:
    with pytest.raises(AddressRefused):
        await checked_addresses("https", "x", 443, policy=Policy(), resolve=resolver("8.8.8.8", "10.0.0.1"))


async def test_plain_http_is_refused_even_to_public_addresses() -> None:
    with pytest.raises(AddressRefused, match="https is required"):
        await checked_addresses("http", "x", 80, policy=Policy(), resolve=resolver("8.8.8.8"))


@pytest.mark.parametrize("address", ["10.1.2.3", "::ffff:10.1.2.3"])
async def test_an_allowed_network_is_reached_also_by_http(address: str) -> None:
    policy = Policy((ip_network("10.0.0.0/8"),))
    assert await checked_addresses("http", "x", 80, policy=policy, resolve=resolver(address))


async def test_an_allowed_network_allows_no_other() -> None:
    policy = Policy((ip_network("10.0.0.0/8"),))
    with pytest.raises(AddressRefused):
        await checked_addresses("https", "x", 443, policy=policy, resolve=resolver("192.168.0.1"))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "017700000001", "::1", "[::1]"])
async def test_every_spelling_of_this_machine_is_refused(host: str) -> None:
    with pytest.raises(AddressRefused):
        await checked_addresses("https", host, 443, policy=Policy(), resolve=system_resolver)


async def test_a_host_without_an_address_is_refused() -> None:
    with pytest.raises(AddressRefused, match="has no address"):
        await checked_addresses("https", "x", 443, policy=Policy(), resolve=resolver())


@pytest.mark.parametrize("host", ["x" * 300, "a..b", "a b"])
async def test_a_host_that_cannot_be_resolved_is_refused(host: str) -> None:
    with pytest.raises(AddressRefused, match="cannot be resolved"):
        await checked_addresses("https", host, 443, policy=Policy(), resolve=system_resolver)
