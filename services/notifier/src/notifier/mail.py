"""Sends an alert by mail through the relay: one connection an attempt, encrypted as configured."""

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

import aiosmtplib
from aiosmtplib import (
    SMTPConnectError,
    SMTPDataError,
    SMTPException,
    SMTPRecipientsRefused,
    SMTPResponseException,
    SMTPServerDisconnected,
    SMTPTimeoutError,
)

from farebox.clock import Clock
from notifier.alert import TEST_TYPE, stored_alert
from notifier.delivery import DeliveryResult, Job, Verdict, outstanding
from notifier.letter import letter
from notifier.message import Message, compose

_PERMANENT_FROM: Final = 500


@dataclass(frozen=True, slots=True)
class SmtpRelay:
    """The mail relay. `password` is asked at every connection, so that it may change."""

    host: str
    port: int
    tls: Literal["starttls", "implicit", "none"]
    user: str | None
    password: Callable[[], str | None]
    context: ssl.SSLContext


class MailSender:
    """One attempt at a mail."""

    def __init__(self, relay: SmtpRelay, *, sender: str, console_url: str, clock: Clock, timeout_s: float) -> None:
        self._relay = relay
        self._sender = sender
        self._console_url = console_url
        self._clock = clock
        self._timeout_s = timeout_s

    async def send(self, job: Job) -> DeliveryResult:
        """Hand the mail to the relay for every recipient it has not accepted yet."""
        message = message_of(job, console_url=self._console_url)
        mail = letter(
            message, sender=self._sender, recipients=job.recipients, message_id=job.delivery_id, now=self._clock.now()
        )
        recipients = list(outstanding(job))
        try:
            async with self._connection() as relay:
                refused, _ = await relay.send_message(mail, recipients=recipients)
        except SMTPRecipientsRefused as error:
            codes = {refusal.recipient: refusal.code for refusal in error.recipients}
            return outcome_of(recipients, codes, had_some=bool(job.accepted))
        except SMTPDataError as error:
            permanent = error.code >= _PERMANENT_FROM
            return DeliveryResult(Verdict.REFUSED if permanent else Verdict.RETRY, error.code, "content_refused")
        except SMTPResponseException as error:
            # A wrong password or sender is the operator's to mend: retried, whatever the relay's code says.
            return DeliveryResult(Verdict.RETRY, error.code, "relay_refused")
        except (SMTPException, OSError) as error:
            return DeliveryResult(Verdict.RETRY, error=_word(error))
        return outcome_of(recipients, {address: answer.code for address, answer in refused.items()}, had_some=True)

    def _connection(self) -> aiosmtplib.SMTP:
        return aiosmtplib.SMTP(
            hostname=self._relay.host,
            port=self._relay.port,
            use_tls=self._relay.tls == "implicit",
            start_tls=self._relay.tls == "starttls",
            tls_context=self._relay.context,
            username=self._relay.user,
            password=self._relay.password(),
            timeout=self._timeout_s,
        )


def _word(error: Exception) -> str:
    if isinstance(error, SMTPTimeoutError):
        return "timeout"
    if isinstance(error.__cause__ or error, ssl.SSLError):
        return "tls_failed"
    away = isinstance(error, OSError | SMTPConnectError | SMTPServerDisconnected)
    return "cannot_connect" if away else "relay_unsuitable"  # it offers no STARTTLS, or no way to sign in


def message_of(job: Job, *, console_url: str) -> Message:
    """The message for a stored alert."""
    return compose(
        stored_alert(job.type, job.event),
        event_id=job.event_id,
        occurred_at=job.occurred_at,
        console_url=console_url,
        test=job.type == TEST_TYPE,
    )


def outcome_of(recipients: list[str], refused: Mapping[str, int], *, had_some: bool) -> DeliveryResult:
    """What a relay's answers for each recipient come to.

    Temporary refusals (4xx: greylisting, a full mailbox) are retried for those recipients alone. Permanent ones do not
    fail the delivery as long as anybody got it (`had_some`: earlier, or now), and are shown in its error.
    """
    accepted = tuple(address for address in recipients if address not in refused)
    status = max(refused.values(), default=250)
    error = f"{len(refused)}_of_{len(recipients)}_recipients_refused" if refused else None
    if any(code < _PERMANENT_FROM for code in refused.values()):
        return DeliveryResult(Verdict.RETRY, status, error, accepted=accepted)
    verdict = Verdict.ACCEPTED if had_some or accepted else Verdict.REFUSED
    return DeliveryResult(verdict, status, error, accepted=accepted)
