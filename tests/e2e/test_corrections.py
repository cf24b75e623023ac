"""A wrong charge is put right through the gateway's `/api`: looked at first, then for good, and everybody knows."""

import uuid
from typing import Any

from support.eventually import eventually
from support.farebox import Farebox, Tenant, accepted, orders

TRUE = {"input": 500, "output": 300}  # 0.15 and 0.60 USD a million: 0.000255 USD
ASK: dict[str, Any] = {
    "model": "gpt-4o-mini",
    "max_tokens": 1_000,
    "messages": [{"role": "user", "content": "Hello! " * 100}],
    "metadata": orders(500, 300, demo_fault="no_usage"),
}


async def unreported(farebox: Farebox, tenant: Tenant) -> dict[str, Any]:
    """The attempt of a call whose usage the provider kept to itself, once the rest of its reserve is uncertain."""
    answer = await farebox.openai(tenant).chat.completions.with_raw_response.create(**ASK)
    charge = await eventually(lambda: farebox.charge(answer.headers["x-farebox-request-id"]))

    def is_posted() -> bool:
        return bool(farebox.balance(tenant.org)["uncertain"] != "0")

    await eventually(is_posted)
    (attempt,) = charge["attempts"]
    return dict(attempt)


async def test_a_call_that_was_not_reported_is_put_right_with_what_the_provider_billed(farebox: Farebox) -> None:
    tenant = farebox.tenant()
    farebox.budget(tenant.org, "1", thresholds=[{"severity": "info", "percent": "0.02"}])
    attempt = await unreported(farebox, tenant)
    body = {"correction_id": str(uuid.uuid4()), "attempt_id": attempt["attempt_id"], "usage": TRUE}
    body |= {"reason": "the provider's usage page"}
    dry = accepted(farebox.admin.post("/api/corrections", json=body | {"dry_run": True}))
    foreseen = accepted(farebox.admin.post("/api/budgets/preview", json={"events": dry["events"]}))
    after = foreseen["balances"][-1]["after"]
    assert (dry["after"]["billed"], after["spent"], after["uncertain"]) == ("0.000255", "0.000255", "0")
    made = [farebox.admin.post("/api/corrections", json=body) for _ in range(2)]
    assert [each.status_code for each in made] == [201, 200]

    def is_right() -> bool:
        balance = farebox.balance(tenant.org)
        return (balance["spent"], balance["uncertain"]) == ("0.000255", "0")

    await eventually(is_right)
    assert farebox.summary(tenant.org)["cost_usd"] == "0.000255"
    (shown,) = farebox.charge(dry["request_id"])["attempts"]
    assert (shown["billed"], shown["entries"][1]["reason"]) == ("0.000255", "the provider's usage page")
    assert farebox.stack.audit() == ""


async def test_a_caller_corrects_nothing(farebox: Farebox) -> None:
    tenant = farebox.tenant()
    farebox.budget(tenant.org, "1")
    attempt = await unreported(farebox, tenant)
    body = {"correction_id": str(uuid.uuid4()), "attempt_id": attempt["attempt_id"], "usage": TRUE, "reason": "mine"}
    headers = {"authorization": f"Bearer {tenant.api_key}"}
    assert farebox.admin.post("/api/corrections", json=body, headers=headers).status_code == 403
    assert len(await farebox.ledger(tenant.org)) == 1
