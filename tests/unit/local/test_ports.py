import socket
from pathlib import Path

from farebox_local.ports import LOOPBACK, KeptPorts, free_port, is_free


def test_a_free_port_can_be_listened_on_and_then_is_not_free() -> None:
    port = free_port()
    with socket.create_server((LOOPBACK, port)):
        assert not is_free(port)


def test_a_name_keeps_its_port(tmp_path: Path) -> None:
    ports = KeptPorts(tmp_path)
    assert ports.of("gateway") == KeptPorts(tmp_path).of("gateway") == ports.noted("gateway")


def test_a_name_whose_port_was_taken_gets_another(tmp_path: Path) -> None:
    port = KeptPorts(tmp_path).of("gateway")
    with socket.create_server((LOOPBACK, port)):
        assert KeptPorts(tmp_path).of("gateway") != port


def test_names_have_ports_of_their_own(tmp_path: Path) -> None:
    ports = KeptPorts(tmp_path)
    assert len({ports.of(f"part-{number}") for number in range(50)}) == 50
