"""Free TCP ports on loopback."""

import secrets
import socket
from pathlib import Path

LOOPBACK = "127.0.0.1"
_EPHEMERAL_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_PORT_MIN = 15_000
_PORT_MAX = 32_000


def _ceiling() -> int:
    try:
        return min(_PORT_MAX, int(_EPHEMERAL_RANGE.read_text().split()[0]))
    except (OSError, ValueError, IndexError):
        return _PORT_MAX


def is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """A port nobody listens on, below the kernel's ephemeral range.

    Not `bind(0)`: a server that is killed and comes back needs its port again, and an ephemeral
    one may meanwhile be the local end of someone's connection, even of a client retrying that
    very port (TCP connects a socket to itself).
    """
    ceiling = _ceiling()
    for _ in range(200):
        port = _PORT_MIN + secrets.randbelow(max(1, ceiling - _PORT_MIN))
        if is_free(port):
            return port
    raise OSError("no free port on loopback")
