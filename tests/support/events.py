"""Events to draw from, derived from the models, so that a new field or type is drawn without being named here."""

import types
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date
from decimal import Decimal
from enum import Enum
from functools import cache
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin
from uuid import UUID

from hypothesis import strategies as st
from pydantic import AwareDatetime, BaseModel
from pydantic.fields import FieldInfo

from farebox.events import ThresholdMark, UsagePriced
from farebox.events.envelope import EARLIEST, LATEST, EventType
from farebox.pricing import BUCKETS, PriceRow

Values = dict[str, Any]

instants = st.datetimes(
    EARLIEST.replace(tzinfo=None), LATEST.replace(tzinfo=None, year=LATEST.year - 1), timezones=st.just(UTC)
)
"""Instants of the contract. (The last year is left out: `datetimes` includes its end.)"""


def events(event_type: EventType) -> st.SearchStrategy[Any]:
    """Any event of a type that a producer could make."""
    return _model(event_type)


@cache
def _model(model: type[BaseModel]) -> st.SearchStrategy[Any]:
    fields = {name: _of(field.annotation, field.metadata) for name, field in model.model_fields.items()}
    sense = _SENSE.get(model, dict)
    return st.fixed_dictionaries(fields).map(lambda values: model(**sense(values)))


def _of(annotation: Any, metadata: Iterable[Any] = ()) -> st.SearchStrategy[Any]:
    arguments = get_args(annotation)
    match get_origin(annotation):
        case None:
            return _plain(annotation, _limits(metadata))
        case origin if origin is Annotated:
            return _of(arguments[0], [*arguments[1:], *metadata])
        case origin if origin in {Union, types.UnionType}:
            return st.one_of([_of(each) for each in arguments])
        case origin if origin is Literal:
            return st.sampled_from(arguments)
        case origin if origin is tuple:
            return st.lists(_of(arguments[0]), max_size=3).map(tuple)
        case origin if origin is dict:
            return st.dictionaries(_of(arguments[0]), _of(arguments[1]), max_size=3)
        case origin:
            raise NotImplementedError(f"no strategy for {origin}")


def _plain(kind: Any, limits: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    if kind is type(None):
        return st.none()
    if issubclass(kind, BaseModel):
        return _model(kind)
    if issubclass(kind, Enum):
        return st.sampled_from(kind)
    return _PLAIN[kind](limits)


def _limits(metadata: Iterable[Any]) -> dict[str, Any]:
    limits: dict[str, Any] = {}
    for each in metadata:
        if isinstance(each, FieldInfo):
            limits |= _limits(each.metadata)
        for name in ("ge", "gt", "le", "lt", "min_length", "max_length", "pattern", "decimal_places"):
            if (value := getattr(each, name, None)) is not None:
                limits[name] = value
    return limits


def _integers(limits: Mapping[str, Any]) -> st.SearchStrategy[int]:
    low = limits["gt"] + 1 if "gt" in limits else limits.get("ge")
    high = limits["lt"] - 1 if "lt" in limits else limits.get("le")
    return st.integers(low, high)


def _texts(limits: Mapping[str, Any]) -> st.SearchStrategy[str]:
    if "pattern" in limits:
        return st.from_regex(limits["pattern"], fullmatch=True, alphabet=st.characters(codec="ascii"))
    longest = limits.get("max_length", 1000)
    return st.text(min_size=limits.get("min_length", 0), max_size=8) | st.just("ế" * longest)


def _decimals(limits: Mapping[str, Any]) -> st.SearchStrategy[Decimal]:
    """Also such as carry an exponent (1E+2), which the wire must not."""
    low = limits.get("gt", limits.get("ge", -(10**10)))
    drawn = st.decimals(low, limits.get("le", 10**10), places=limits["decimal_places"])
    bounded = drawn.filter(lambda value: value != limits.get("gt"))
    return bounded | bounded.map(lambda value: value.normalize())


_PLAIN: Final[Mapping[Any, Callable[[Mapping[str, Any]], st.SearchStrategy[Any]]]] = {
    int: _integers,
    str: _texts,
    Decimal: _decimals,
    bool: lambda _: st.booleans(),
    UUID: lambda _: st.uuids(),
    AwareDatetime: lambda _: instants,
    date: lambda _: st.dates(),
}


def _priced_or_in_suspense(values: Values) -> Values:
    return values | {"billed_nano": None if values["suspense"] else values["billed_nano"] or 0}


def _percent_or_amount(values: Values) -> Values:
    return values | {"amount": values["amount"] or 0 if values["percent"] is None else None}


def _row_that_makes_sense(values: Values) -> Values:
    """Rates of known units below what is absurd, tiers that replace some of them, an end after the start."""
    start, end = sorted((values["effective_from"], values["effective_to"] or LATEST))
    prices = [rate % 100 for rate in values["rates"].values()] or [Decimal(1)]
    rates = dict(zip(("output", "input", *BUCKETS), prices, strict=False)) | {
        "input": prices[0],
        "tool:search": Decimal(5),
    }
    return values | {
        "effective_from": start,
        "effective_to": end if end > start else None,
        "rates": rates,
        "context_tiers": [{"above": 200_000, "rates": {"input": prices[0]}}],
        "service_tiers": {name: {"rates": {"input": prices[-1]}} for name in values["service_tiers"]},
    }


_SENSE: Final[Mapping[type[BaseModel], Callable[[Values], Values]]] = {
    UsagePriced: _priced_or_in_suspense,
    ThresholdMark: _percent_or_amount,
    PriceRow: _row_that_makes_sense,
}
"""What the fields of a model must agree on."""
