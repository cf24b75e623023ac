"""Which models were asked for and had no price: for the operator, who is to price them."""

from typing import Final

import structlog

from gateway import metrics

log = structlog.get_logger()

NAMED_MAX: Final = 100
"""Models with a name of their own in metric and log: callers choose the names, and there is no end of them."""

OTHER: Final = "other"


class UnpricedModels:
    """Counts every refusal for want of a price; names the first models, and counts the rest as one."""

    def __init__(self) -> None:
        self._named: set[tuple[str, str]] = set()

    def note(self, provider: str, model: str, detail: str) -> None:
        """One call was refused. `detail` is empty where nothing is known of the model."""
        asked = provider, model.lower()
        is_new = asked not in self._named
        if is_new and len(self._named) >= NAMED_MAX:
            metrics.UNPRICED_MODELS.labels(provider, OTHER).inc()
            return
        if is_new:
            self._named.add(asked)
            log.warning("model_not_priced", provider=provider, model=asked[1], detail=detail or "not in the catalogue")
        metrics.UNPRICED_MODELS.labels(*asked).inc()
