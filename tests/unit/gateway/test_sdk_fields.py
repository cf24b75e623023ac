"""The dialects' tables against the parameter types of the official SDKs: a new version shows here what is new.

What is found has to be judged: what can it do to the bill? Then it goes into a table, or, where no bound can be read
from the body, into the list below with the reason.
"""

from collections.abc import Iterator
from typing import Any, Final, Literal, get_args, get_origin

import anthropic.types.beta
import openai.types.chat
import pytest
from pydantic import BaseModel
from typing_extensions import get_type_hints, is_typeddict

from gateway.dialects.providers import table_of
from gateway.dialects.table import Inner, Kinds, Shape

UNBOUNDED: Final = {
    "billing_policy": "somebody else may be billed",
    "compaction": "the model runs once more, to sum up",
    "context_management.edits:compact_20260112": "the same",
    "fallbacks.max_tokens": "another limit than the call's",
    "fallbacks.speed": "another rate than the call's",
    "thread": "holds earlier turns that are not in the body",
}
HEADERS: Final = {"betas", "user_profile_id", "workspace_id"}
"""Parameters of a method that its SDK sends as headers."""


def records(annotation: Any) -> Iterator[Any]:
    """The objects that a type may hold, without those inside of them."""
    if is_typeddict(annotation) or (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        yield annotation
    elif get_origin(annotation) is not dict:
        for each in get_args(annotation):
            yield from records(each)


def fields_of(record: Any) -> dict[str, Any]:
    """Their types, by name."""
    if is_typeddict(record):
        return get_type_hints(record)
    return {field.alias or name: field.annotation for name, field in record.model_fields.items()}


def shapes(record: Any, inner: Inner, path: str) -> Iterator[tuple[Shape | None, str]]:
    """What the table has for an object; None where it does not know its kind."""
    if isinstance(inner, Shape):
        yield inner, path
    elif isinstance(inner, Kinds):
        kinds = fields_of(record).get(inner.by)
        literals = [
            kind for each in (kinds, *get_args(kinds)) if get_origin(each) is Literal for kind in get_args(each)
        ]
        for kind in literals or [None]:
            yield inner.of.get(kind), f"{path}:{kind}"


def unknown(annotation: Any, inner: Inner, path: str, seen: set[Any]) -> Iterator[str]:
    """Everything that an SDK's type has and the table has not."""
    for record in records(annotation):
        for table, here in shapes(record, inner, path):
            if table is None:
                yield here
            elif (record, id(table)) not in seen:
                seen.add((record, id(table)))
                yield from unknown_fields(record, table, here, seen)


def unknown_fields(record: Any, table: Shape, path: str, seen: set[Any]) -> Iterator[str]:
    hints = fields_of(record)
    yield from (f"{path}.{name}".removeprefix(".") for name in hints if name not in table.names)
    for name, inner, _ in table.below:
        if name in hints:
            yield from unknown(hints[name], inner, f"{path}.{name}".removeprefix("."), seen)


@pytest.mark.parametrize(
    ("dialect", "parameters"),
    [
        ("openai", openai.types.chat.completion_create_params.CompletionCreateParamsStreaming),
        ("openai", openai.types.chat.completion_create_params.CompletionCreateParamsNonStreaming),
        ("anthropic", anthropic.types.message_create_params.MessageCreateParamsStreaming),
        ("anthropic", anthropic.types.message_create_params.MessageCreateParamsNonStreaming),
    ],
)
def test_every_parameter_of_the_official_sdk_is_in_the_table(dialect: Any, parameters: Any) -> None:
    assert set(unknown(parameters, table_of(dialect, dialect), "", set())) <= HEADERS


def test_of_the_betas_only_what_has_no_bound_is_not_in_the_table() -> None:
    beta = anthropic.types.beta.message_create_params.MessageCreateParamsStreaming
    found = set(unknown(beta, table_of("anthropic", "anthropic"), "", set()))
    assert found == HEADERS | UNBOUNDED.keys()


@pytest.mark.parametrize(
    ("dialect", "answer"),
    [
        ("openai", openai.types.chat.ChatCompletionMessage),
        ("anthropic", anthropic.types.ContentBlock),
        ("anthropic", anthropic.types.beta.BetaContentBlock),
    ],
)
def test_what_a_model_answered_may_be_sent_back(dialect: Any, answer: Any) -> None:
    messages = next(inner for name, inner, _ in table_of(dialect, dialect).below if name == "messages")
    assert isinstance(messages, Shape)
    content = next(inner for name, inner, _ in messages.below if name == "content")
    inner = messages if dialect == "openai" else content
    assert not set(unknown(answer, inner, "", set()))
