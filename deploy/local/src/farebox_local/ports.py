"""TCP ports on loopback: free ones, and the ones a folder used before."""

import json
import secrets
import socket
from collections.abc import Collection
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


class KeptPorts:
    """The ports of one state folder, by name: the same at every run as long as they are free."""

    def __init__(self, folder: Path) -> None:
        self._note = folder / "ports.json"

    def of(self, name: str) -> int:
        """The port this name had before, or a new one if it had none or somebody else took it."""
        known = self._known()
        port = known.get(name, 0)
        if port and is_free(port):
            return port
        known[name] = _another_than(known.values())
        self._note.parent.mkdir(parents=True, exist_ok=True)
        self._note.write_text(json.dumps(known, indent=2) + "\n")
        return known[name]

    def noted(self, name: str) -> int:
        """The port this name has, whoever listens on it now. Raises KeyError if it never had one."""
        return self._known()[name]

    def _known(self) -> dict[str, int]:
        known: dict[str, int] = json.loads(self._note.read_text()) if self._note.exists() else {}
        return known


def _another_than(taken: Collection[int]) -> int:
    while (port := free_port()) in taken:
        pass
    return port
