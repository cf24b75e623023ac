"""Whether callers were told the truth: nobody refused or left alone who should not be, nobody served either. Pure."""

from collections.abc import Iterator
from typing import Final

from chaos.calls import Call
from chaos.findings import Finding
from chaos.knowledge import Run
from chaos.load import is_refused_for_money
from chaos.schedule import BUDGET, METERING
from chaos.tariff import HEARD_WITHIN_S
from chaos.twins import FENCED_WITHIN_S

REVOKED_WITHIN_S: Final = 30.0
"""A revoked key is refused everywhere by then."""
_GRANTS: Final = (*BUDGET, "postgres", "link budget", "link postgres")
_WORD: Final = ("kafka", "link kafka", *BUDGET, "postgres", "link postgres")
"""What a change of policy needs on its way to gateways that cannot ask."""
_PRICES: Final = ("kafka", "link kafka", *METERING, "postgres", "link postgres")


def told_wrong(run: Run) -> Iterator[Finding]:
    """All sentences about what callers were told."""
    yield from _nobody_is_left_alone(run)
    yield from _no_revoked_key_is_served(run)
    yield from _no_fenced_gateway_serves(run)
    yield from _nothing_that_lives_is_released(run)


def _nobody_is_left_alone(run: Run) -> Iterator[Finding]:
    """A call is refused or unanswered only for a reason that the harness knows."""
    false = set(run.false_refusals)
    for call in run.calls:
        if call.is_answered:
            continue
        if is_refused_for_money(call):
            if call in false:
                yield Finding("refused with room left", f"{_told(call)}, with {call.room} left", call=call)
        elif not _is_explained(run, call):
            kind = "unanswered with all up" if call.status is None or not call.is_whole else "refused with all up"
            yield Finding(kind, _told(call), call=call)


def _is_explained(run: Run, call: Call) -> bool:
    if call.fault is not None:
        return True
    if call.key.revocation_asked_at <= call.ended and call.status in (401, 403):
        return True
    if call.code == "model_not_priced" and _may_be_unpriced(run, call):
        return True
    needed = (call.gateway, "provider", "link provider", *_GRANTS)
    return run.outages.disturbed(needed, call.began, call.ended)


def _may_be_unpriced(run: Run, call: Call) -> bool:
    """Whether the gateway need not have heard of the model's price yet."""
    since = run.tariff.priced_since(call.model)
    if call.began < since + HEARD_WITHIN_S:
        return True
    ways = (*_PRICES, call.gateway, f"link kafka of {call.gateway}")
    return call.began < run.outages.calm_after(ways, since, HEARD_WITHIN_S)


def _no_revoked_key_is_served(run: Run) -> Iterator[Finding]:
    """However it hears of it: a gateway asks again in time, or is told by Kafka if it cannot ask."""
    for call in run.calls:
        if not call.is_answered or call.began < call.key.revoked_at + REVOKED_WITHIN_S:
            continue
        asked_by = run.outages.calm_after(_GRANTS, call.key.revoked_at, REVOKED_WITHIN_S)
        told = (*_WORD, f"link kafka of {call.gateway}")
        told_by = run.outages.calm_after(told, call.key.revoked_at, REVOKED_WITHIN_S)
        if call.began >= min(asked_by, told_by):
            late_s = call.began - call.key.revoked_at
            yield Finding("revoked key served", f"{_told(call)}, {late_s:.0f} s after its key was revoked", call=call)


def _no_fenced_gateway_serves(run: Run) -> Iterator[Finding]:
    """Of two processes of one name the older stops when the newer has begun."""
    for zombie in run.zombies:
        for call in run.calls:
            is_late = zombie.since + FENCED_WITHIN_S <= call.began <= zombie.until
            if call.gateway == zombie.gateway and is_late and call.is_answered:
                late_s = call.began - zombie.since
                yield Finding("served by a fenced gateway", f"{_told(call)}, {late_s:.0f} s after", call=call)


def _nothing_that_lives_is_released(run: Run) -> Iterator[Finding]:
    """An operator's release of a gateway that may yet come back is refused."""
    for release in run.releases:
        if release.is_done and release.lived:
            why = f"{release.amount} of {release.budget_id} held by {release.gateway}, which lives"
            yield Finding("released while it lives", why, release.amount)


def _told(call: Call) -> str:
    what = "no answer" if call.status is None else f"{call.status} {call.code}".rstrip()
    return f"{call.id} of {call.tenant.org} by {call.gateway} for {call.model}: {what}"
