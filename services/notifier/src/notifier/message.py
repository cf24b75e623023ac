"""What an alert says to people: pure, from the event to a localised message. How it looks is `letter`'s business."""

import unicodedata
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal
from enum import StrEnum
from typing import Final, assert_never
from uuid import UUID

from farebox.events import (
    BudgetExhausted,
    BudgetOverLimit,
    BudgetState,
    ThresholdCrossed,
    ThresholdMark,
    ThresholdResolved,
)
from notifier.alert import Alert
from notifier.catalogue import Catalogue

_SUBJECT_NAME_MAX: Final = 60
_NAME_MAX: Final = 200
_CALM_BELOW: Final = Decimal(75)
_URGENT_FROM: Final = Decimal(95)
_INVISIBLE: Final = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Unicode categories that could break a line, or hide or reorder what people read."""


class Tone(StrEnum):
    """Colour of bar and label: below all thresholds, past the first, past the second (PROFILES.md)."""

    GREEN = "green"
    AMBER = "amber"
    RED = "red"


@dataclass(frozen=True, slots=True)
class Figure:
    """One labelled figure."""

    label: str
    value: str


@dataclass(frozen=True, slots=True)
class Bar:
    """The progress bar: its text says the percentage, its `width_percent` stays within 0 and 100."""

    text: str
    width_percent: int


@dataclass(frozen=True, slots=True)
class Message:
    """A message ready to be laid out. Every text is one line of plain text, not yet escaped for any markup."""

    language: str
    tone: Tone
    label: str
    subject: str
    headline: str
    lead: str
    bar: Bar
    amounts: tuple[Figure, ...]
    facts: tuple[Figure, ...]
    actions_title: str
    actions: tuple[str, ...]
    link: str
    link_text: str
    footer: tuple[str, ...]
    test_note: str | None


def compose(alert: Alert, *, event_id: UUID, occurred_at: datetime, console_url: str, test: bool = False) -> Message:
    """The message for an alert, in the language and zone of its account.

    Raises UnknownZone and farebox.money.UnknownCurrency for an event that nobody could be told.
    """
    texts = Catalogue(alert.locale)
    budget = alert.budget
    account = one_line(budget.account.name, _NAME_MAX) or one_line(budget.account.id, _NAME_MAX)
    name = one_line(budget.budget_name, _NAME_MAX) or str(budget.budget_id)
    label = _label(alert, texts)
    kind = _kind(alert)
    names = {
        "account": account,
        "budget": name,
        "threshold": _threshold(alert, texts),
        "percent": texts.ratio(budget.percent_spent),
    }
    short = names | {
        "budget": one_line(name, _SUBJECT_NAME_MAX),
        "label": texts.text("label.test") if test else label,
    }
    return Message(
        language=texts.language,
        tone=_tone(alert),
        label=label,
        subject=texts.text(f"subject.{kind}", **short),
        headline=texts.text(f"headline.{kind}", **names),
        lead=texts.text(f"lead.{_lead(alert)}", **names),
        bar=Bar(names["percent"], width_percent(budget.percent_spent)),
        amounts=_amounts(budget, texts),
        facts=_facts(budget, account, occurred_at, texts),
        actions_title=texts.text("action.title"),
        actions=_actions(alert, texts),
        link=f"{console_url.rstrip('/')}/budgets/{budget.budget_id}",
        link_text=texts.text("page.button"),
        footer=(texts.text("page.why", account=account), texts.text("page.zone", zone=texts.zone), str(event_id)),
        test_note=texts.text("page.test") if test else None,
    )


def one_line(text: str, length_max: int) -> str:
    """A name as one visible line: line breaks, control and direction characters become spaces, runs of them one."""
    visible = "".join(" " if unicodedata.category(char) in _INVISIBLE else char for char in text)
    line = " ".join(visible.split())
    return line if len(line) <= length_max else line[: length_max - 1] + "…"


def width_percent(percent: Decimal) -> int:
    """The bar's filled share in whole percent; full only from 100 % on, and never empty once something is spent."""
    if percent <= 0:
        return 0
    if percent >= 100:
        return 100
    return min(max(int(percent.to_integral_value(ROUND_HALF_EVEN)), 1), 99)


def is_urgent(alert: Alert) -> bool:
    """Whether people must act: the highest threshold, 95 % and more, nothing left, or over the limit."""
    match alert:
        case ThresholdResolved():
            return False
        case BudgetExhausted() | BudgetOverLimit():
            return True
        case ThresholdCrossed():
            return alert.threshold == _highest(alert.budget) or alert.budget.percent_spent >= _URGENT_FROM
        case _:
            assert_never(alert)


def _tone(alert: Alert) -> Tone:
    budget = alert.budget
    if isinstance(alert, BudgetExhausted | BudgetOverLimit):
        return Tone.RED
    known = budget.thresholds or ((alert.threshold,) if isinstance(alert, ThresholdCrossed) else ())
    passed = sum(budget.spent >= _spent_at(mark, budget) for mark in known)
    if isinstance(alert, ThresholdCrossed) and is_urgent(alert) and len(known) > 1:
        return Tone.RED
    return (Tone.GREEN, Tone.AMBER, Tone.RED)[min(passed, 2)]


def _highest(budget: BudgetState) -> ThresholdMark | None:
    return max(budget.thresholds, key=lambda mark: _spent_at(mark, budget), default=None)


def _spent_at(mark: ThresholdMark, budget: BudgetState) -> Decimal:
    """The spending at which a mark is reached."""
    if mark.percent is not None:
        return budget.limit * mark.percent / 100
    return Decimal(mark.amount or 0)


def _kind(alert: Alert) -> str:
    match alert:
        case ThresholdCrossed():
            return "crossed"
        case ThresholdResolved():
            return "resolved"
        case BudgetExhausted():
            return "exhausted"
        case BudgetOverLimit():
            return "over_limit"
        case _:
            assert_never(alert)


def _label(alert: Alert, texts: Catalogue) -> str:
    if isinstance(alert, ThresholdCrossed):
        return one_line(texts.named("severity", alert.threshold.severity), _SUBJECT_NAME_MAX)
    return texts.text(f"label.{_kind(alert)}")


def _lead(alert: Alert) -> str:
    kind, enforced = _kind(alert), "enforced" if alert.budget.mode == "hard" else "open"
    match alert:
        case ThresholdResolved():
            return kind
        case BudgetExhausted() | BudgetOverLimit():
            return f"{kind}_{enforced}"
        case ThresholdCrossed():
            if is_urgent(alert):
                return f"{kind}_urgent_{enforced}"
            return f"{kind}_calm" if alert.budget.percent_spent < _CALM_BELOW else f"{kind}_attention"
        case _:
            assert_never(alert)


def _threshold(alert: Alert, texts: Catalogue) -> str:
    if not isinstance(alert, ThresholdCrossed | ThresholdResolved):
        return ""
    mark, budget = alert.threshold, alert.budget
    if mark.percent is not None:
        return texts.mark(mark.percent)
    return texts.amount(mark.amount or 0, budget.measure, budget.currency)


def _amounts(budget: BudgetState, texts: Catalogue) -> tuple[Figure, ...]:
    quantities = {
        "spent" if budget.measure == "money" else "used": budget.spent,
        "remaining": budget.remaining,
        "limit": budget.limit,
    }
    return tuple(
        Figure(texts.text(f"figure.{name}"), texts.amount(quantity, budget.measure, budget.currency))
        for name, quantity in quantities.items()
    )


def _facts(budget: BudgetState, account: str, occurred_at: datetime, texts: Catalogue) -> tuple[Figure, ...]:
    facts = {
        "account": account,
        "window": texts.text(f"window.{budget.window.kind}"),
        "resets": _resets(budget, texts),
        "occurred": texts.time(occurred_at),
    }
    if budget.held:
        facts = {"held": texts.amount(budget.held, budget.measure, budget.currency)} | facts
    return tuple(Figure(texts.text(f"figure.{name}"), value) for name, value in facts.items())


def _resets(budget: BudgetState, texts: Catalogue) -> str:
    return texts.time(budget.window.end) if budget.window.end else texts.text("resets.never")


def _actions(alert: Alert, texts: Catalogue) -> tuple[str, ...]:
    if not is_urgent(alert):
        return ()
    actions = [texts.text(f"action.{name}") for name in ("review", "raise", "optimise")]
    if alert.budget.mode == "hard":
        refused = "soon_refused" if isinstance(alert, ThresholdCrossed) else "refused"
        actions.append(_refused(refused, alert.budget.window.end, texts))
    return tuple(actions)


def _refused(name: str, end: datetime | None, texts: Catalogue) -> str:
    return texts.text(f"action.{name}_until", time=texts.time(end)) if end else texts.text(f"action.{name}")
