"""What aiokafka's own tasks may meet without ending."""

from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError

from farebox.kafka.consumer import WatchedConsumer


class ClosedByTheLoop:
    """A connection whose socket is closed, as uvloop says it, and that aiokafka still takes for open."""

    def connected(self) -> bool:
        return True

    def send(self, _request: Any, **_options: Any) -> Any:
        raise RuntimeError("unable to perform operation on <TCPTransport>; the handler is closed")

    async def close(self, **_options: Any) -> None:
        pass


async def test_a_socket_that_the_loop_has_closed_is_a_lost_connection_and_no_end_of_the_consumer() -> None:
    consumer = WatchedConsumer(bootstrap_servers="127.0.0.1:1")
    consumer._client._conns[1, 0] = ClosedByTheLoop()
    with pytest.raises(KafkaConnectionError):
        await consumer._client.send(1, object())
    await consumer.stop()
