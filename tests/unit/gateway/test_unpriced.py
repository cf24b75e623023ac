"""What was asked for and had no price is named, as long as there are not too many names."""

from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from gateway.policy.unpriced import NAMED_MAX, UnpricedModels


def counted(model: str, provider: str = "acme") -> float:
    found = REGISTRY.get_sample_value("farebox_gateway_unpriced_models_total", {"provider": provider, "model": model})
    return found or 0.0


def test_each_refusal_counts_for_its_model_and_the_first_is_logged() -> None:
    models, before = UnpricedModels(), counted("one")
    with capture_logs() as logs:
        for name in ("one", "One", "one"):
            models.note("acme", name, "")
    assert counted("one") - before == 3
    assert [(log["event"], log["model"], log["detail"]) for log in logs] == [
        ("model_not_priced", "one", "not in the catalogue")
    ]


def test_beyond_the_bound_models_count_as_other() -> None:
    models, before = UnpricedModels(), counted("other", "many")
    with capture_logs() as logs:
        for number in range(NAMED_MAX + 7):
            models.note("many", f"m{number}", "")
        models.note("many", "m0", "")
    assert counted("other", "many") - before == 7
    assert (counted(f"m{NAMED_MAX - 1}", "many"), counted(f"m{NAMED_MAX}", "many"), counted("m0", "many")) == (1, 0, 2)
    assert len(logs) == NAMED_MAX
