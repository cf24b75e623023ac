from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from farebox.events import (
    AccountRef,
    BudgetExhausted,
    BudgetOverLimit,
    BudgetWindow,
    Locale,
    ThresholdMark,
    ThresholdResolved,
)
from farebox.money import NANO, UnknownCurrency
from notifier.alert import Alert
from notifier.errors import UnknownZone
from notifier.message import Message, Tone, compose, one_line, width_percent
from support.alerts import BUDGET_ID, MATCH_DAILY, NOON, crossed, locale, state

EVENT_ID = UUID("01900000-0000-7000-8000-00000000000e")


def told(alert: Alert, **options: Any) -> Message:
    return compose(alert, event_id=EVENT_ID, occurred_at=NOON, console_url="https://console.example/", **options)


def figures(message: Message) -> dict[str, str]:
    return {figure.label: figure.value for figure in (*message.amounts, *message.facts)}


def test_vietnamese() -> None:
    message = told(
        crossed("75.42", budget_name="Ngân sách tháng", account=AccountRef(id="pho", kind="org", name="Phở"))
    )
    assert message.subject == "[Cảnh báo] Ngân sách tháng: đã dùng 75,4%"
    assert message.lead == "Phở đã chạm mốc 75% của “Ngân sách tháng”. Bạn nên xem lại mức sử dụng."
    assert figures(message) == {
        "Đã chi": "21.872 VND",
        "Còn lại": "7.128 VND",
        "Hạn mức": "29.000 VND",
        "Tài khoản": "Phở",
        "Chu kỳ": "Tháng",
        "Làm mới lúc": "00:00 ngày 1/12/2026",
        "Thời điểm cảnh báo": "12:00 ngày 21/11/2026",
    }


def test_korean() -> None:
    message = told(
        crossed("80.00", mark=1, language="ko", limit=50_000, budget_name="일일 예산", thresholds=MATCH_DAILY)
    )
    assert message.subject == "[주의] 일일 예산: 80.0% 사용"
    assert message.lead == "Acme의 ‘일일 예산’ 사용률이 80% 기준에 도달했습니다. 사용량을 점검해 주세요."
    assert figures(message)["남은 예산"] == "10,000 KRW"
    assert figures(message)["알림 발생 시각"] == "2026년 11월 21일 14:00"


def test_english() -> None:
    message = told(crossed("80.10", language="en", limit=100))
    assert message.subject == "[Warning] Monthly budget: 80.1% used"
    assert figures(message)["Spent"] == "80.10 USD"
    assert figures(message)["Time of this alert"] == "21 November 2026, 00:00"


def test_the_first_threshold_is_amber_and_the_next_are_red() -> None:
    tones = [told(crossed(percent, mark=mark)).tone for mark, percent in enumerate(("75.00", "90.00", "95.00"))]
    assert tones == [Tone.AMBER, Tone.RED, Tone.RED]


def test_halfway_is_told_calmly() -> None:
    message = told(crossed("50.00", language="en", thresholds=MATCH_DAILY))
    assert "All is well" in message.lead
    assert message.actions == ()


def test_only_the_highest_threshold_lists_actions() -> None:
    assert told(crossed("90.00", mark=1)).actions == ()
    assert len(told(crossed("95.00", mark=2)).actions) == 4


def test_95_percent_lists_actions_at_any_threshold() -> None:
    assert told(crossed("95.00", mark=0)).actions


def test_a_soft_budget_does_not_threaten_with_refusals() -> None:
    message = told(crossed("95.00", mark=2, language="en", mode="soft"))
    assert "does not refuse" in message.lead
    assert not any("refused" in action for action in message.actions)


def test_without_known_thresholds_the_one_crossed_decides_the_colour() -> None:
    alert = crossed().model_copy(update={"budget": state(thresholds=())})
    assert told(alert).tone is Tone.AMBER


def test_resolved_is_green_below_all_thresholds() -> None:
    alert = ThresholdResolved(budget=state("40.00"), locale=locale("en"), threshold=MATCH_DAILY[1])
    assert told(alert).tone is Tone.GREEN
    assert told(alert).actions == ()


@pytest.mark.parametrize(
    ("event", "subject"), [(BudgetExhausted, "is used up"), (BudgetOverLimit, "is over its limit")]
)
def test_nothing_left_is_red_and_urgent(event: type[Alert], subject: str) -> None:
    message = told(event.model_validate({"budget": state("100.00"), "locale": locale("en")}))
    assert (message.tone, len(message.actions)) == (Tone.RED, 4)
    assert subject in message.subject


def test_an_absolute_threshold_is_told_as_an_amount() -> None:
    mark = ThresholdMark(severity="low", amount=9 * NANO)
    message = told(crossed("95.00", language="en", limit=10, thresholds=(mark,)))
    assert "the 9.00 USD mark" in message.lead


def test_a_severity_nobody_translated_is_shown_as_it_is() -> None:
    mark = ThresholdMark(severity="Rot", percent=Decimal(75))
    assert told(crossed(thresholds=(mark,))).label == "Rot"


def test_counts_have_their_unit() -> None:
    message = told(crossed("50.00", language="en", limit=1, measure="requests", currency=None, spent=1, remaining=0))
    assert figures(message)["Used"] == "1 request"
    assert figures(message)["Remaining"] == "0 requests"


def test_a_lifetime_budget_does_not_reset() -> None:
    window = BudgetWindow(kind="lifetime", start=NOON, end=None, zone="UTC")
    message = told(crossed("95.00", mark=2, language="en", window=window))
    assert figures(message)["Resets"] == "Never"
    assert message.actions[-1].startswith("Once the limit is reached, requests are refused until it is raised.")


def test_the_link_leads_to_the_budget() -> None:
    assert told(crossed()).link == f"https://console.example/budgets/{BUDGET_ID}"


def test_a_test_says_so() -> None:
    message = told(crossed(language="en"), test=True)
    assert message.subject.startswith("[Test] ")
    assert message.test_note == "This is a test. The figures are made up."


def test_a_name_cannot_break_out_of_its_line() -> None:
    account = AccountRef(id="a", kind="org", name="Acme\r\nBcc: all@example.com\x00\u202e")
    assert "Acme Bcc: all@example.com đã chạm" in told(crossed(account=account)).lead
    assert one_line(account.name, 100) == "Acme Bcc: all@example.com"


def test_a_long_name_is_cut() -> None:
    assert one_line("x" * 100, 10) == "x" * 9 + "…"


@pytest.mark.parametrize(
    ("percent", "width"),
    [("-3", 0), ("0", 0), ("0.01", 1), ("74.6", 75), ("99.99", 99), ("100", 100), ("312.5", 100)],
)
def test_the_bar_is_full_only_from_100_percent(percent: str, width: int) -> None:
    assert width_percent(Decimal(percent)) == width


def test_a_percentage_is_never_rounded_up_over_a_mark() -> None:
    assert told(crossed("89.99")).bar.text == "89,9%"


def test_a_zone_nobody_knows_is_refused() -> None:
    alert = crossed().model_copy(update={"locale": Locale(language="vi", zone="Asia/Nowhere")})
    with pytest.raises(UnknownZone):
        told(alert)


def test_a_currency_nobody_knows_is_refused() -> None:
    with pytest.raises(UnknownCurrency):
        told(crossed(currency="ZZZ"))
