"""Decimals that are no amounts (rates, prices a unit, percentages): exact in memory, plain text on every wire."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

PLAIN: Final = r"^-?[0-9]+(\.[0-9]+)?$"
"""How a decimal is written: no exponent, which some readers would take for a float."""


@dataclass(frozen=True, slots=True)
class AsText:
    """Marks a Decimal field, after its bounds: JSON carries it as a string of `pattern`, and no number is taken for it.

    `Annotated[Decimal, Field(gt=0, max_digits=30), AsText()]`
    """

    pattern: str = PLAIN

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        written = core_schema.plain_serializer_function_ser_schema(
            _plain, return_schema=core_schema.str_schema(), when_used="json"
        )
        return core_schema.no_info_before_validator_function(_exact, handler(source), serialization=written)

    def __get_pydantic_json_schema__(self, _: CoreSchema, __: GetJsonSchemaHandler) -> Mapping[str, Any]:
        return {"type": "string", "pattern": self.pattern}


def _exact(value: object) -> object:
    """Text is read here, because pydantic's strict mode takes no text for a Decimal once Python has touched it."""
    if isinstance(value, str):
        try:
            return Decimal(value)
        except InvalidOperation:
            raise ValueError("must be a decimal string") from None
    if not isinstance(value, Decimal):
        raise ValueError("must be a decimal string, never a number")  # noqa: TRY004 - pydantic reports ValueError
    return value


def _plain(value: Decimal) -> str:
    return format(value, "f")
