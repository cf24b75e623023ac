from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from gateway.admission.estimate import Reason
from gateway.admission.verdict import Refused
from gateway.errors import BadCall, BudgetAway, Fenced, JournalFull, ModelNotFound, NoKey, Stage, UnknownKey
from gateway.policy.policies import KeyPolicy
from gateway.refusals.refusals import Refusal, of, refused, upstream_failed
from support.reservations import NANO, key_policy, path_budget

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def short(reason: Reason = Reason.BUDGET_EXCEEDED, whose: KeyPolicy | None = None) -> Refusal:
    whose = whose or key_policy()
    return refused(Refused(reason, whose, whose.budgets[0], required=650 * NANO), "gpt-4o", NOW)


def error(refusal: Refusal) -> dict[str, Any]:
    body: dict[str, Any] = orjson.loads(refusal.body("openai"))["error"]
    return body


def test_a_402_names_budget_figures_and_what_to_do() -> None:
    refusal = short()
    assert refusal.status == 402
    assert error(refusal) == {
        "message": "Ngân sách “Tháng” của Ann không đủ cho yêu cầu này: còn 500 VND trên 29.000 VND. "
        "Vui lòng đợi đến 2026-07-01 00:00 (Asia/Ho_Chi_Minh), nâng cấp gói hoặc yêu cầu tăng hạn mức. "
        "Yêu cầu này cần 650 VND; giảm `max_tokens` hoặc rút ngắn nội dung thì cần ít hơn.",
        "type": "insufficient_quota",
        "param": None,
        "code": "budget_exceeded",
        "budget_exceeded": True,
        "budget": "Tháng",
        "budget_id": "00000000-0000-0000-0000-000000000005",
        "scope": "user",
        "account": "ann",
        "measure": "money",
        "limit": "29000",
        "spent": "28000",
        "held": "500",
        "remaining": "500",
        "required": "650",
        "resets_at": "2026-06-30T17:00:00+00:00",
        "currency": "VND",
    }


@pytest.mark.parametrize(("language", "word"), [("vi", "nạp thêm"), ("ko", "충전"), ("en", "Top up")])
def test_an_empty_balance_is_told_in_the_accounts_language(language: str, word: str) -> None:
    refusal = short(Reason.INSUFFICIENT_BALANCE, key_policy(language=language))
    assert refusal.status == 402
    assert word in error(refusal)["message"]


def test_a_used_up_quota_is_429_until_it_resets() -> None:
    quota = path_budget(measure="requests", currency=None, limit=100, spent=100, held=0)
    refusal = short(Reason.QUOTA_EXCEEDED, key_policy(budgets=(quota,)))
    assert refusal.status == 429
    assert refusal.headers["retry-after"] == str(int((quota.resets_at - NOW).total_seconds()))  # type: ignore[operator]
    assert error(refusal)["limit"] == "100"


def test_what_was_refused_for_money_is_not_to_be_retried_by_the_sdk() -> None:
    assert short().headers["x-should-retry"] == "false"


def test_anthropics_sdk_gets_an_error_it_knows() -> None:
    body = orjson.loads(short().body("anthropic"))
    assert body["type"] == "error"
    assert body["error"]["code"] == "budget_exceeded"
    assert body["error"]["type"] == "billing_error"


def test_a_field_is_named_in_anthropics_dialect_too() -> None:
    refusal = refused(Refused(Reason.FIELD_NOT_BOUNDED, key_policy(), detail="speed.x"), "claude", NOW)
    assert orjson.loads(refusal.body("anthropic"))["error"]["param"] == "speed.x"


def test_anthropics_sdk_is_told_to_do_without_a_thread() -> None:
    refusal = refused(Refused(Reason.FIELD_NOT_BOUNDED, key_policy(), detail="thread"), "claude", NOW)
    told = orjson.loads(refusal.body("anthropic"))["error"]["details"]
    assert told == {"error_code": "thread_unsupported_request", "unsupported": ["thread"]}


@pytest.mark.parametrize(("stage", "again"), [(Stage.NOT_SENT, True), (Stage.SENT, False), (Stage.TIMED_OUT, False)])
def test_what_may_have_been_billed_is_not_to_be_bought_again_by_the_sdk(stage: Stage, again: bool) -> None:
    assert (upstream_failed(stage).headers.get("x-should-retry") != "false") == again


@pytest.mark.parametrize(
    ("raised", "status", "code"),
    [
        (NoKey("x"), 401, "missing_api_key"),
        (UnknownKey("x"), 401, "invalid_api_key"),
        (BadCall("x"), 400, "invalid_request"),
        (BadCall("x", status=413, code="body_too_large"), 413, "body_too_large"),
        (ModelNotFound("m"), 404, "model_not_found"),
        (BudgetAway("x"), 503, "budget_unavailable"),
        (Fenced("x"), 503, "budget_unavailable"),
        (JournalFull("x"), 503, "journal_unavailable"),
    ],
)
def test_every_error_has_its_status_and_its_code(raised: Any, status: int, code: str) -> None:
    refusal = of(raised)
    assert (refusal.status, refusal.code) == (status, code)


@pytest.mark.parametrize("reason", [Reason.MODEL_NOT_ALLOWED, Reason.MODEL_NOT_PRICED])
def test_a_model_this_key_may_not_use_is_403(reason: Reason) -> None:
    refusal = refused(Refused(reason, key_policy()), "gpt-4o", NOW)
    assert (refusal.status, refusal.code, refusal.param) == (403, reason.value, "model")


def test_outdated_prices_are_a_503_that_says_why() -> None:
    refusal = refused(Refused(Reason.PRICES_OUTDATED, key_policy(), detail="Prices here are old."), "gpt-4o", NOW)
    assert (refusal.status, refusal.code, refusal.headers["retry-after"]) == (503, "prices_outdated", "5")
    assert refusal.message.startswith("Prices here are old. ")


def test_a_quota_of_requests_says_nothing_of_how_much_a_call_needs() -> None:
    quota = path_budget(measure="requests", currency=None, limit=100, spent=100, held=0)
    assert "max_tokens" not in error(short(Reason.QUOTA_EXCEEDED, key_policy(budgets=(quota,))))["message"]


@pytest.mark.parametrize(
    ("reason", "detail"),
    [
        (Reason.FIELD_NOT_BOUNDED, "plugins"),
        (Reason.FIELD_NOT_BOUNDED, "tools:web_search"),
        (Reason.MODEL_NOT_BOUNDED, "name its `context_window` under `capacities` in the routes file"),
    ],
)
def test_what_nothing_bounds_is_named_and_not_to_be_sent_again(reason: Reason, detail: str) -> None:
    refusal = refused(Refused(reason, key_policy(), detail=detail), "in-house-7b", NOW)
    assert (refusal.status, refusal.code) == (400, reason)
    assert detail in refusal.message
    assert refusal.headers["x-should-retry"] == "false"
