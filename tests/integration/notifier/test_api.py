from typing import Any

import pytest
from standardwebhooks import Webhook

from farebox.auth import Role
from farebox.events import AccountRef, BudgetExhausted
from support.alerts import MATCH_DAILY, crossed, locale
from support.eventually import eventually
from support.notifying import Notifying, bearer, record
from support.receivers import Hook, Inbox


async def refused(notifying: Notifying, **body: Any) -> list[str]:
    """The problems with which a channel is refused."""
    answer = await notifying.admin.post("/api/channels", json=body)
    assert answer.status_code == 422, answer.text
    return list(answer.json()["error"]["problems"])


@pytest.mark.parametrize("path", ["channels", "deliveries", "alerts"])
async def test_only_platform_admins_may(path: str, notifying: Notifying) -> None:
    for token, status in (("", 401), ("Bearer nonsense", 401), (bearer(Role.VIEWER), 403)):
        answer = await notifying.admin.get(f"/api/{path}", headers={"authorization": token})
        assert answer.status_code == status


async def test_a_webhooks_secret_is_shown_once_and_stored_sealed(notifying: Notifying, hook: Hook) -> None:
    made = await notifying.webhook(hook.url, name="alarm", event_types=[BudgetExhausted.type])
    shown = (await notifying.admin.get(f"/api/channels/{made['channel_id']}")).json()
    assert made["secret"].startswith("whsec_")
    assert shown == {key: value for key, value in made.items() if key != "secret"}
    assert made["secret"].encode() not in await notifying.pool.fetchval("SELECT secret_sealed FROM channel")


async def test_a_mail_channel_has_recipients_and_no_secret(notifying: Notifying) -> None:
    made = await notifying.mail_channel("minh@example.com")
    assert (made["kind"], made["recipients"], "secret" in made, "url" in made) == (
        "email",
        ["minh@example.com"],
        False,
        False,
    )


@pytest.mark.parametrize(
    "body",
    [
        {"account": "acme", "kind": "email"},
        {"account": "acme", "kind": "email", "recipients": []},
        {"account": "acme", "kind": "email", "recipients": ["a@example.com\r\nBcc: b@example.com"]},
        {"account": "acme", "kind": "email", "recipients": ["a@example.com"], "url": "https://example.com"},
        {"account": "acme", "kind": "webhook"},
        {"account": "acme", "kind": "webhook", "url": "https://127.0.0.1.example.com:bad/"},
        {"account": "acme", "kind": "webhook", "url": "http://10.0.0.1/"},
        {"account": "acme", "kind": "webhook", "url": "https://169.254.169.254/latest/meta-data"},
        {"account": "acme", "kind": "webhook", "url": "http://127.0.0.1/", "event_types": ["nonsense"]},
        {"account": "acme", "kind": "webhook", "url": "http://127.0.0.1/", "recipients": ["a@example.com"]},
        {"account": "", "kind": "email", "recipients": ["a@example.com"]},
        {"account": "a\x00b", "kind": "email", "recipients": ["a@example.com"]},
        {"account": "acme", "kind": "pigeon"},
        {"account": "acme", "kind": "email", "recipients": ["a@example.com"], "colour": "red"},
    ],
)
async def test_a_channel_that_could_not_work_is_refused(body: dict[str, Any], notifying: Notifying) -> None:
    assert await refused(notifying, **body)
    assert await notifying.items("/api/channels") == []


async def test_a_channel_can_be_changed(notifying: Notifying, hook: Hook) -> None:
    made = await notifying.webhook(hook.url, event_types=[BudgetExhausted.type])
    path = f"/api/channels/{made['channel_id']}"
    change = {"name": "new", "event_types": None, "active": False}
    changed = (await notifying.admin.patch(path, json=change)).json()
    assert (changed["name"], changed["event_types"], changed["state"]) == ("new", None, "disabled")
    assert (await notifying.admin.patch(path, json={"recipients": ["a@example.com"]})).status_code == 422
    assert (await notifying.admin.patch(path, json={"url": "https://10.0.0.1/"})).status_code == 422


async def test_a_deleted_channel_is_gone_and_what_was_due_on_it_is_cancelled(notifying: Notifying, hook: Hook) -> None:
    hook.hanging = True
    made = await notifying.webhook(hook.url)
    await notifying.tell(crossed())
    await eventually(lambda: hook.at_once == 1)
    path = f"/api/channels/{made['channel_id']}"
    assert (await notifying.admin.delete(path)).status_code == 204
    assert (await notifying.admin.get(path)).status_code == (await notifying.admin.delete(path)).status_code == 404
    assert [each["state"] for each in await notifying.items("/api/deliveries")] == ["cancelled"]
    assert await notifying.items("/api/channels") == []


@pytest.mark.parametrize("id_", ["nonsense", "01900000-0000-7000-8000-000000000000"])
async def test_unknown_ids_are_not_found(id_: str, notifying: Notifying) -> None:
    for method, path in [("GET", "channels/{}"), ("POST", "channels/{}/test"), ("GET", "deliveries/{}")]:
        assert (await notifying.admin.request(method, f"/api/{path.format(id_)}")).status_code == 404
    assert (await notifying.admin.post(f"/api/alerts/{id_}/acknowledge")).status_code == 404


async def test_the_test_button_sends_a_mail_that_says_so(notifying: Notifying, inbox: Inbox) -> None:
    made = await notifying.mail_channel()
    answer = await notifying.admin.post(f"/api/channels/{made['channel_id']}/test", json={"language": "vi"})
    assert answer.status_code == 202
    await eventually(lambda: len(inbox.mails) == 1)
    assert str(inbox.mails[0]["Subject"]).startswith("[Thử nghiệm]")


async def test_the_test_button_sends_a_signed_webhook_whatever_types_it_chose(notifying: Notifying, hook: Hook) -> None:
    made = await notifying.webhook(hook.url, event_types=[BudgetExhausted.type])
    answer = await notifying.admin.post(f"/api/channels/{made['channel_id']}/test")
    await eventually(lambda: len(hook.bodies) == 1)
    assert Webhook(made["secret"]).verify(hook.bodies[0], hook.headers[0])["type"] == "farebox.notifier.test.v1"
    delivery = (await notifying.admin.get(f"/api/deliveries/{answer.json()['delivery_id']}")).json()
    assert delivery["type"] == "farebox.notifier.test.v1"


async def test_a_disabled_channel_cannot_be_tested(notifying: Notifying) -> None:
    made = await notifying.mail_channel()
    path = f"/api/channels/{made['channel_id']}"
    await notifying.admin.patch(path, json={"active": False})
    assert (await notifying.admin.post(f"{path}/test")).status_code == 409


async def test_after_a_rotation_both_secrets_verify_for_the_overlap(notifying: Notifying, hook: Hook) -> None:
    made = await notifying.webhook(hook.url)
    rotated = (await notifying.admin.post(f"/api/channels/{made['channel_id']}/rotate")).json()
    await notifying.tell(crossed())
    await eventually(lambda: len(hook.bodies) == 1)
    assert rotated["secret"] != made["secret"]
    for secret in (made["secret"], rotated["secret"]):
        Webhook(secret).verify(hook.bodies[0], hook.headers[0])


async def test_without_overlap_only_the_new_secret_signs(notifying: Notifying, hook: Hook) -> None:
    made = await notifying.webhook(hook.url)
    path = f"/api/channels/{made['channel_id']}/rotate"
    rotated = (await notifying.admin.post(path, json={"overlap_hours": 0})).json()
    await notifying.tell(crossed())
    await eventually(lambda: len(hook.bodies) == 1)
    Webhook(rotated["secret"]).verify(hook.bodies[0], hook.headers[0])
    assert len(hook.headers[0]["webhook-signature"].split()) == 1


async def test_the_history_says_what_happened_and_who_was_told(notifying: Notifying, inbox: Inbox) -> None:
    await notifying.mail_channel()
    event_id = await notifying.tell(crossed("80.00", mark=1, language="ko", limit=50_000, thresholds=MATCH_DAILY))
    await eventually(lambda: len(inbox.mails) == 1)

    async def told() -> dict[str, Any]:
        [line] = await notifying.items("/api/alerts", account="acme")
        assert line["deliveries"][0]["state"] == "delivered"
        return line

    line = await eventually(told)
    shown = [line[name] for name in ("event_id", "severity", "threshold", "spent", "limit", "currency", "test")]
    assert shown == [str(event_id), "warning", {"percent": "80"}, "40000", "50000", "KRW", False]


async def test_the_history_tells_occurrences_of_one_mark_apart(notifying: Notifying) -> None:
    alarm = crossed(notify_people=False).model_copy(update={"provisional": True})
    for event in (alarm, crossed(occurrence=2)):
        await notifying.tell(event)
    lines = await notifying.items("/api/alerts")
    assert [(line["occurrence"], line["provisional"]) for line in lines] == [(2, False), (1, True)]


async def test_the_history_of_an_account_has_what_is_below_it(notifying: Notifying) -> None:
    core = AccountRef(id="core", kind="team", name="Core")
    await notifying.tell(crossed(account=core, path=("platform", "acme", "core")))
    counts = [len(await notifying.items("/api/alerts", account=name)) for name in ("platform", "acme", "core", "other")]
    assert counts == [1, 1, 1, 0]


async def test_the_first_acknowledgement_stays(notifying: Notifying) -> None:
    path = f"/api/alerts/{await notifying.tell(crossed())}/acknowledge"
    first = (await notifying.admin.post(path, json={"by": "Minh", "note": "on it"})).json()
    second = (await notifying.admin.post(path, json={"by": "Lan"})).json()
    assert first == second
    assert (second["acknowledged_by"], second["note"]) == ("Minh", "on it")


async def test_lists_are_read_page_by_page(notifying: Notifying) -> None:
    told = [str(await notifying.tell(crossed())) for _ in range(5)]
    first = (await notifying.admin.get("/api/alerts", params={"limit": 3})).json()
    rest = (await notifying.admin.get("/api/alerts", params={"limit": 3, "cursor": first["next_cursor"]})).json()
    assert [line["event_id"] for line in first["items"] + rest["items"]] == told[::-1]
    assert rest["next_cursor"] is None


@pytest.mark.parametrize(
    "query", [{"limit": "0"}, {"limit": "501"}, {"limit": "x"}, {"cursor": "x"}, {"state": "x"}, {"channel": "x"}]
)
async def test_a_query_that_makes_no_sense_is_refused(query: dict[str, str], notifying: Notifying) -> None:
    assert (await notifying.admin.get("/api/deliveries", params=query)).status_code == 422


async def test_an_event_postgresql_cannot_hold_is_refused_and_the_rest_taken(notifying: Notifying) -> None:
    bad = AccountRef(id="nul\x00", kind="org", name="Nul")
    rejected = await notifying.hand_over(record(crossed(account=bad)), record(crossed()))
    assert [each.reason for each in rejected] == ["unstorable"]
    assert len(await notifying.items("/api/alerts")) == 1


async def test_an_event_that_cannot_be_told_is_refused(notifying: Notifying) -> None:
    nowhere = crossed().model_copy(update={"locale": locale("vi").model_copy(update={"zone": "Nowhere"})})
    rejected = await notifying.hand_over(record(nowhere), record(crossed(currency="ZZZ")))
    assert [each.reason for each in rejected] == ["unknown_zone", "unknown_currency"]
