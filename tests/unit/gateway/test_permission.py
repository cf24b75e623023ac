from dataclasses import replace
from typing import Any

import orjson
import pytest

from farebox.matching import Admitted
from farebox.shares import Attributes
from gateway.admission.estimate import Reason
from gateway.admission.permission import barred
from gateway.admission.verdict import Refused
from gateway.dialects.call import Call, read
from gateway.refusals.refusals import Refusal, refused
from gateway.upstreams.directory import Upstream
from support.reservations import NOW, UPSTREAM, key_policy, path_budget

ROUTER = replace(UPSTREAM, config=UPSTREAM.config.model_copy(update={"provider": "openrouter"}))
ADMITTED = Admitted("demo", "openrouter", "openai/gpt-4o")


def call(**fields: Any) -> Call:
    body = {"model": "openai/gpt-4o", "messages": [{"role": "user", "content": "hi"}], **fields}
    return read("openai", orjson.dumps(body), {}, max_tokens_limit=1000, provider="openrouter")


def verdict(made: Call, upstream: Upstream = ROUTER, **policy: Any) -> Refused | None:
    return barred(made, upstream, ADMITTED, key_policy(**policy))


def answer(made: Call, **policy: Any) -> Refusal:
    why = verdict(made, **policy)
    assert why
    return refused(why, made.model, NOW)


@pytest.mark.parametrize(
    ("mode", "measure", "passes"),
    [
        ("hard", "money", False),
        ("hard", "tokens", False),
        ("hard", "requests", True),
        ("soft", "money", True),
        ("shadow", "money", True),
    ],
)
def test_what_no_table_knows_passes_only_where_no_cost_has_to_be_held(mode: str, measure: str, passes: bool) -> None:
    found = verdict(call(best_of=20), budgets=(path_budget(mode=mode, measure=measure),))
    assert (found is None) is passes


def test_a_refusal_names_the_field_and_the_setting_that_lets_it_through() -> None:
    found = answer(call(messages=[{"role": "user", "content": [{"type": "input_file", "file_url": "http://x"}]}]))
    assert (found.status, found.code, found.param) == (400, "field_not_bounded", "messages[0].content[0]:input_file")
    assert "`messages.content:input_file` in `allow_fields` of the upstream" in found.message


@pytest.mark.parametrize("allowed", ["best_of", "best_*"])
def test_an_operator_lets_a_field_through_an_upstream(allowed: str) -> None:
    config = ROUTER.config.model_copy(update={"allow_fields": (allowed,)})
    assert verdict(call(best_of=20), replace(ROUTER, config=config)) is None
    found = verdict(call(best_of=20, preset="x"), replace(ROUTER, config=config))
    assert found
    assert found.detail == "preset"


@pytest.mark.parametrize("policy", [{"allowed_models": ("openai/*",)}, {"blocked_models": ("anthropic/*",)}])
def test_every_model_that_may_answer_has_to_be_allowed(policy: dict[str, Any]) -> None:
    assert verdict(call(models=["openai/gpt-4o-mini"]), **policy) is None
    found = answer(call(models=["openai/gpt-4o-mini", "anthropic/claude-opus-4"]), **policy)
    assert (found.status, found.code) == (403, "model_not_allowed")
    assert "`anthropic/claude-opus-4` is not allowed" in found.message


@pytest.mark.parametrize("mode", ["soft", "hard"])
def test_a_models_own_hard_budget_is_not_evaded_by_naming_it_second(mode: str) -> None:
    narrowed = path_budget(mode=mode, narrowed_to=Attributes(model="openai/gpt-4o-mini"))
    found = verdict(call(models=["openai/gpt-4o-mini"]), budgets=(narrowed,))
    assert (found.reason if found else None) == (Reason.MODEL_NOT_ALLOWED if mode == "hard" else None)
