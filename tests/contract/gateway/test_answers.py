"""What providers bill is what is charged: their answers, as they give them, to the nano."""

from datetime import UTC, datetime

import pytest

from farebox.pricing import Catalogue, Unpriced, Usage, price_known
from gateway.dialects.reports import usage_of
from support.answers import ANSWERS, AnswerExample

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
CATALOGUE = Catalogue()

every_answer = pytest.mark.parametrize("example", ANSWERS.values(), ids=list(ANSWERS))


@every_answer
def test_an_answer_and_a_stream_say_the_same_in_disjoint_buckets(example: AnswerExample) -> None:
    for report in example.reports():
        usage = usage_of(example.dialect, example.provider, report, str(report.model))
        assert usage == Usage.model_validate(example.usage)


@every_answer
def test_the_bill_is_charged_to_the_nano_and_what_has_no_price_is_named(example: AnswerExample) -> None:
    model = example.answer["model"]
    rates = CATALOGUE.rates_for(example.provider, model, NOW)
    assert rates
    found = price_known(rates, Usage.model_validate(example.usage))
    assert not isinstance(found, Unpriced)
    charge, left = found
    assert (charge.cost_nano_usd, left) == (example.bill_nano_usd, example.left)
