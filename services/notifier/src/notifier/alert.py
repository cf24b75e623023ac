"""An alert: one of the events of a budget that people and programs are told."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, TypeAlias

from farebox.events import BudgetExhausted, BudgetOverLimit, ThresholdCrossed, ThresholdResolved

Alert: TypeAlias = ThresholdCrossed | ThresholdResolved | BudgetExhausted | BudgetOverLimit

TEST_TYPE: Final = "farebox.notifier.test.v1"
"""Type of a test message. Its data has the shape of a crossed threshold; every channel can be sent one."""

_MODELS: Final[Mapping[str, type[Alert]]] = MappingProxyType(
    {model.type: model for model in (ThresholdCrossed, ThresholdResolved, BudgetExhausted, BudgetOverLimit)}
)

EVENT_TYPES: Final = tuple(_MODELS)
"""What a webhook may subscribe to."""


def stored_alert(type_: str, event: str) -> Alert:
    """An alert from its type and JSON as they were stored, a test message included."""
    model = ThresholdCrossed if type_ == TEST_TYPE else _MODELS[type_]
    return model.model_validate_json(event)
