"""Errors of the gateway.

    FareboxError
    ├── Transient
    │   ├── BudgetAway      the budget service cannot be reached, or is no use at the moment
    │   └── JournalFull     the disk takes no more; nothing may be dispatched that is not written down
    ├── Invalid
    │   └── BadCall         a model call that no provider would take (400, 413, 415)
    │       └── ModelNotFound   no upstream serves it (404)
    ├── Unauthenticated
    │   ├── NoKey           the request shows no key
    │   └── UnknownKey      the budget service does not know the key, or it is revoked
    ├── Fenced              a newer process claimed this gateway's name: this one may admit nothing more
    ├── JournalLocked       another process writes this journal
    └── UpstreamFailed      a provider gave no answer; `stage` says how far the request had come

Refusals (no money, no such model, …) are values: `admission.Reason`.
"""

from enum import StrEnum

from farebox.errors import FareboxError, Invalid, Transient, Unauthenticated


class BudgetAway(Transient):
    """Hard budgets live on the shares in hand until it is back."""

    code = "budget_unavailable"


class JournalFull(Transient):
    """The record was not written, and the journal is as it was before."""

    code = "journal_unavailable"


class BadCall(Invalid):
    """`param` names the field of the body that is wrong, `status` is the HTTP status to answer with."""

    code = "invalid_request"

    def __init__(self, message: str, *, param: str | None = None, status: int = 400, code: str | None = None) -> None:
        super().__init__(message)
        self.param = param
        self.http_status = status
        self.reason = code


class ModelNotFound(BadCall):
    """Models are what the routes file lists."""

    def __init__(self, model: str) -> None:
        super().__init__(f"The model `{model}` does not exist here.", param="model", status=404, code="model_not_found")


class NoKey(Unauthenticated):
    """Neither `Authorization: Bearer …` nor `x-api-key: …`."""

    code = "missing_api_key"


class UnknownKey(Unauthenticated):
    """Which of unknown and revoked it is, is not told."""


class Fenced(FareboxError):
    """Only a restart, which claims a new epoch, mends it."""

    code = "fenced"
    status = 503


class JournalLocked(FareboxError):
    """Two gateways must not share a journal folder."""

    code = "journal_locked"


class Stage(StrEnum):
    """How far a request had come when its provider failed; it decides what the attempt is charged."""

    NOT_SENT = "unreachable"
    """No connection was made: nothing can have been billed."""
    SENT = "cut"
    """The request went out and no complete answer came back: it may have been billed in full."""
    TIMED_OUT = "timeout"
    """As SENT, and it was our patience that ended."""


class UpstreamFailed(FareboxError):
    """The provider gave no answer, or stopped in the middle of one."""

    code = "upstream_failed"
    status = 502

    def __init__(self, stage: Stage, detail: str) -> None:
        super().__init__(detail)
        self.stage = stage
