"""A second process under a gateway's name: what a node that was given up too early, or a copied setting, makes."""

from dataclasses import dataclass, replace
from typing import Final

from farebox_local.parts import ServedPart
from farebox_local.ports import KeptPorts
from farebox_local.services import service_part
from farebox_local.stack import Stack

FENCED_WITHIN_S: Final = 4.0
"""The older of two stops at once: with its next beat, or the one after where that had no answer."""


@dataclass(slots=True)
class Zombie:
    """A gateway that came back after a twin had taken its name: from when until when (monotonic seconds)."""

    gateway: str
    since: float
    until: float = float("inf")


def twin_of(gateway: str, number: int, stack: Stack) -> ServedPart:
    """Another process with the gateway's settings, its own ports, and a journal that is empty. Not started."""
    name = f"twin-{number}"
    ports = KeptPorts(stack.folder)
    ports.of(name), ports.of(f"{name}-ops")
    around = replace(stack.around, extra={**stack.around.extra, name: {"instance": gateway}})
    return service_part(around, name, "gateway")
