"""Sends an alert to a webhook: one POST, signed, to a checked address, without redirects, bounded in time and size."""

import ssl
from collections.abc import Sequence
from typing import Final, Self

import httpx
import orjson

from farebox.clock import Clock
from notifier.address import Address, Policy, Resolver, checked_addresses
from notifier.delivery import DeliveryResult, Job, Verdict
from notifier.errors import AddressRefused, CannotUnseal
from notifier.retry import retry_after_s
from notifier.seal import Seal
from notifier.signature import signed_headers

_CONNECT_TIMEOUT_S: Final = 5.0
_ADDRESSES_TRIED_MAX: Final = 3
_GONE: Final = 410


class WebhookSender:
    """One attempt at a webhook. Enter it before use."""

    def __init__(
        self, *, policy: Policy, resolve: Resolver, seal: Seal, clock: Clock, timeout_s: float, tls: ssl.SSLContext
    ) -> None:
        self._policy = policy
        self._resolve = resolve
        self._seal = seal
        self._clock = clock
        # No connection is kept: connections are to addresses, and one made for a name must not serve another.
        self._client = httpx.AsyncClient(
            timeout=httpx.Timeout(timeout_s, connect=_CONNECT_TIMEOUT_S),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
            verify=tls,
            follow_redirects=False,
            trust_env=False,
            headers={"user-agent": "Farebox", "accept-encoding": "identity"},
        )

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def send(self, job: Job) -> DeliveryResult:
        """Post the alert and judge the answer by its status alone; its body is not read."""
        try:
            url = httpx.URL(job.url or "")
            port = url.port or (443 if url.scheme == "https" else 80)
            addresses = await checked_addresses(url.scheme, url.host, port, policy=self._policy, resolve=self._resolve)
            return await self._post(job, url, addresses[:_ADDRESSES_TRIED_MAX])
        except (AddressRefused, CannotUnseal) as error:
            return DeliveryResult(Verdict.RETRY, error=error.code)
        except httpx.InvalidURL:
            return DeliveryResult(Verdict.REFUSED, error="bad_url")
        except httpx.TimeoutException:
            return DeliveryResult(Verdict.RETRY, error="timeout")
        except httpx.HTTPError as error:
            return DeliveryResult(Verdict.RETRY, error=_word(error))

    async def _post(self, job: Job, url: httpx.URL, addresses: Sequence[Address]) -> DeliveryResult:
        body = payload(job)
        headers = self._headers(job, url, body)
        for address in addresses[:-1]:
            try:
                return await self._attempt(url, address, headers, body)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                continue  # nothing was sent: the next address of the same host may answer
        return await self._attempt(url, addresses[-1], headers, body)

    async def _attempt(self, url: httpx.URL, address: Address, headers: dict[str, str], body: bytes) -> DeliveryResult:
        request = self._client.build_request(
            "POST",
            url.copy_with(host=str(address)),
            headers=headers,
            content=body,
            extensions={"sni_hostname": url.host},  # the certificate is checked against the name, not the address
        )
        response = await self._client.send(request, stream=True)
        await response.aclose()
        return self._judge(response)

    def _headers(self, job: Job, url: httpx.URL, body: bytes) -> dict[str, str]:
        keys = [self._seal.open(sealed) for sealed in job.sealed_secrets]
        timestamp_s = int(self._clock.now().timestamp())
        return {
            **signed_headers(str(job.event_id), timestamp_s, body, keys),
            "content-type": "application/json",
            "host": url.netloc.decode("ascii"),
        }

    def _judge(self, response: httpx.Response) -> DeliveryResult:
        status = response.status_code
        if response.is_success:
            return DeliveryResult(Verdict.ACCEPTED, status)
        if status == _GONE:
            return DeliveryResult(Verdict.GONE, status, "gone")
        wait_s = retry_after_s(response.headers.get("retry-after"), self._clock.now())
        return DeliveryResult(Verdict.RETRY, status, f"status_{status}", wait_s)


def payload(job: Job) -> bytes:
    """Standard Webhooks' payload: type, timestamp of the event, and the event exactly as its producer wrote it.

    The same bytes at every attempt.
    """
    return orjson.dumps(
        {"type": job.type, "timestamp": job.occurred_at.isoformat(), "data": orjson.Fragment(job.event)}
    )


def _word(error: httpx.HTTPError) -> str:
    if isinstance(error, httpx.ConnectError):
        return "tls_failed" if "SSL" in str(error) or "certificate" in str(error).lower() else "cannot_connect"
    return "connection_broken" if isinstance(error, httpx.NetworkError | httpx.RemoteProtocolError) else "http_error"
