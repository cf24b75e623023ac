"""What a model call used, and what it was charged."""

from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, ClassVar, Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from farebox.decimals import AsText
from farebox.events.envelope import CloudEvent, Instant
from farebox.pricing import Usage
from farebox.pricing.usage import Label

NanoAmount = Annotated[int, Field(ge=0, lt=2**63, description="Integer nano-units (10^-9) of the named currency.")]
SignedNano = Annotated[int, Field(gt=-(2**63), lt=2**63, description="Integer nano-units (10^-9), may be negative.")]
Name = Annotated[str, StringConstraints(min_length=1, max_length=256)]
Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]


class Part(BaseModel):
    """A piece of an event: frozen, tolerant of fields a newer producer adds."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Principal(Part):
    """Who called: account ids along the path platform → org → team → user → key. The platform is implied."""

    org: Name
    team: Name | None = None
    user: Name | None = None
    key: Name

    def path(self) -> tuple[str, ...]:
        """Account ids from the platform down to the key."""
        return (
            "platform",
            *(part for part in (self.org, self.team, self.user, self.key) if part is not None),
        )

    def subject(self) -> str:
        """The Kafka key: the user, or the key itself where a key belongs to no user."""
        return self.user or self.key


class BillingTerms(Part):
    """How cost in USD becomes the billed amount: units of `currency` per USD, and where that rate is from.

    Stamped at admission, so that reserve, bill and ledger row use one and the same rate.
    """

    currency: Currency
    fx_rate: Annotated[Decimal, Field(gt=0, max_digits=30, decimal_places=12), AsText()]
    fx_source: Name
    fx_date: date


class LeaseUse(Part):
    """What calls before `held` were admitted under: a lease, and the worst case in the billing currency."""

    lease_id: UUID
    reserve_nano: NanoAmount
    settled_nano: NanoAmount | None = Field(
        default=None,
        description="What the gateway counted as spent of the lease for it. The charge may be another: a price changed "
        "or came only later. Null: the charge.",
    )


class CallAttributes(Part):
    """What a call was admitted under. Budgets narrowed to a provider, model, feature or session count it by these."""

    upstream: Name = Field(description="The upstream that was called; `provider` of the events.")
    provider: Name = Field(description="Provider id in the price catalogue.")
    model: Name = Field(description="The model that was asked for, whatever served it.")
    feature: Name | None = None
    session: Name | None = None


class Measured(Part):
    """An amount in every measure a budget may have: nano-units of the billing currency, calls, tokens."""

    money: NanoAmount = 0
    requests: Annotated[int, Field(ge=0)] = 0
    tokens: Annotated[int, Field(ge=0)] = 0


class HeldWindow(Part):
    """A hard budget's window in which the call was held."""

    budget_id: UUID
    start: Instant


class Held(Part):
    """What a call held of hard budgets, and what was settled there: never the reserve.

    `settled` = what the gateway charged + `uncertain`. Uncertain is what the provider may have billed beyond the charge
    where it did not report the usage: it counts in the windows until the true usage is entered, an operator ends it, or
    the window ends.
    """

    gateway: Name
    epoch: Annotated[int, Field(ge=0)]
    windows: tuple[HeldWindow, ...] = ()
    settled: Measured = Measured()
    uncertain: Measured = Measured()
    attributes: CallAttributes


class PricedAs(Part):
    """At which model's rates a call is priced, where they are not those of the model that served it, and why."""

    model: Name
    why: Literal["unknown_model", "cheaper_model"] = Field(
        description="The model that served has no price, or a lower one and nobody said that it may serve."
    )


class RequestCompleted(CloudEvent):
    """One attempt at a provider ended. `ce_id` is the attempt's id; never carries a prompt or an answer."""

    type: ClassVar[str] = "farebox.request.completed.v1"

    attempt_id: UUID = Field(description="UUIDv7 made before the attempt; equal to `ce_id`.")
    request_id: UUID = Field(description="The caller's request; its retries and fallbacks share it.")
    attempt: Annotated[int, Field(ge=1)] = 1
    started_at: Instant
    completed_at: Instant
    principal: Principal
    session: Name | None = Field(default=None, description="The caller's chat or session.")
    feature: Name | None = Field(default=None, description="The caller's feature or service.")
    caller_endpoint: Name | None = Field(default=None, description="The caller's own endpoint that made the call.")
    tags: dict[str, str] = Field(default_factory=dict, description="Free, the caller's own.")
    api: Name = Field(description="The API the caller spoke, `chat.completions` or `messages`.")
    provider: Name = Field(description="The upstream that was called.")
    price_provider: Name | None = Field(
        default=None, description="Provider id in the price catalogue, where it differs from `provider`."
    )
    requested_model: Name
    served_model: Name = Field(
        description="As the provider's answer states it; priced unless `priced_as` says otherwise."
    )
    served_by: Name | None = Field(default=None, description="Who served it, where the provider passes calls on.")
    priced_as: PricedAs | None = None
    usage: Usage
    reported: dict[Label, Annotated[str, StringConstraints(max_length=64)]] | None = Field(
        default=None,
        description="The numbers of the provider's report, as text, where they were not believed.",
    )
    billing: BillingTerms
    lease: LeaseUse | None = Field(default=None, description="Null since `held` says what was held.")
    held: Held | None = Field(default=None, description="What the call held of hard budgets.")
    streamed: bool = False
    latency_ms: Annotated[int, Field(ge=0)] = Field(default=0, description="From dispatch to the answer's end.")
    ttft_ms: Annotated[int, Field(ge=0)] | None = Field(default=None, description="From dispatch to the first token.")
    status: Annotated[int, Field(ge=0, le=599)] = Field(
        default=200, description="The provider's HTTP status; 0 if it gave none."
    )
    outcome: Literal["success", "provider_error", "client_disconnected", "timeout", "unreachable", "recovered"] = Field(
        default="success", description="`recovered`: charged from the journal after a crash."
    )
    error_class: Name | None = None
    cache_hit: Literal["none", "gateway", "caller"] = Field(
        default="none", description="Whose response cache answered, if one did."
    )
    complexity: Literal["simple", "medium", "complex"] | None = None
    category: Name | None = None
    route: Name | None = Field(default=None, description="What the router decided, and why.")


class SuspenseReason(StrEnum):
    """Why a call could not be priced yet. It is never charged zero."""

    UNKNOWN_MODEL = "unknown_model"
    NO_PRICE_AT_TIME = "no_price_at_time"
    NO_RATE_FOR_UNIT = "no_rate_for_unit"
    COST_OUT_OF_RANGE = "cost_out_of_range"
    UNKNOWN_CURRENCY = "unknown_currency"


class UsagePriced(CloudEvent):
    """A ledger entry was written (`suspense` is null), or a call waits for its price (`suspense` says why).

    `entry_id` is the attempt's id for a charge, a new id for a correction. What a correction says of money, tokens and
    requests are differences, each of which may be negative; its `held` names the windows, and nothing is settled there.
    A suspended call is announced once with null amounts, and once more, priced, when its price has arrived.
    """

    type: ClassVar[str] = "farebox.usage.priced.v1"

    entry_id: UUID
    attempt_id: UUID
    request_id: UUID
    kind: Literal["charge", "correction"] = "charge"
    occurred_at: Instant
    priced_at: Instant
    principal: Principal
    session: Name | None = None
    feature: Name | None = None
    provider: Name
    model: Name
    cost_nano_usd: SignedNano | None
    billed_nano: SignedNano | None = Field(description="Nano-units of `currency`; null while in suspense.")
    currency: Currency
    price_version: Name | None = Field(
        description="The price row or the seed that priced it; `stated` where a correction stated the amount."
    )
    requests: int = 1
    tokens: int = Field(default=0, description="All buckets together.")
    usage_source: Literal["reported", "estimated", "worst_case"]
    lease: LeaseUse | None = Field(default=None, description="Null since `held` says what was held.")
    held: Held | None = Field(default=None, description="What the call held of hard budgets.")
    suspense: SuspenseReason | None = None
    corrects: UUID | None = Field(
        default=None, description="What a correction corrects: the charge, or the correction before it."
    )

    @model_validator(mode="after")
    def _priced_or_in_suspense(self) -> Self:
        if (self.billed_nano is None) == (self.suspense is None):
            raise ValueError("either billed_nano is set or suspense says why it is not")
        return self
