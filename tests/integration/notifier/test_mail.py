from collections import deque
from pathlib import Path
from typing import Any

import pytest

from support.alerts import crossed
from support.certificates import Authority
from support.eventually import eventually
from support.notifying import Notifying, notifier_settings, open_notifying
from support.receivers import LOOPBACK, Inbox, mail_relay


async def ended(notifying: Notifying) -> dict[str, Any]:
    async def reached() -> dict[str, Any]:
        delivery = await notifying.delivery()
        assert delivery["state"] != "pending"
        return delivery

    return await eventually(reached)


async def test_one_mail_reaches_every_recipient_in_the_accounts_language(notifying: Notifying, inbox: Inbox) -> None:
    await notifying.mail_channel("minh@example.com", "lan@example.com")
    await notifying.tell(crossed("96.00", mark=2, language="ko"))
    delivery = await ended(notifying)
    [mail] = inbox.mails
    assert inbox.recipients == [["minh@example.com", "lan@example.com"]]
    assert mail["Message-ID"] == f"<{delivery['delivery_id']}@farebox.example>"
    text, html = (part.get_content() for part in mail.iter_parts())
    assert "예산의 96.0%를 사용했습니다" in text
    assert "지금 필요한 조치" in html


async def test_alerts_not_meant_for_people_send_no_mail(notifying: Notifying, inbox: Inbox) -> None:
    await notifying.mail_channel()
    await notifying.tell(crossed(notify_people=False))
    await notifying.tell(crossed(notify_people=True))
    await ended(notifying)
    assert len(inbox.mails) == len(await notifying.items("/api/deliveries")) == 1


async def test_a_mark_that_is_crossed_again_is_another_mail(notifying: Notifying, inbox: Inbox) -> None:
    await notifying.mail_channel()
    for occurrence in (1, 2):
        await notifying.tell(crossed(occurrence=occurrence))
    await eventually(lambda: len(inbox.mails) == 2)
    assert len({mail["Message-ID"] for mail in inbox.mails}) == 2
    assert len({mail["Subject"] for mail in inbox.mails}) == 1


async def test_a_greylisted_recipient_is_served_later_and_the_others_once(notifying: Notifying, inbox: Inbox) -> None:
    inbox.refusals["lan@example.com"] = deque(["451 come back later"])
    await notifying.mail_channel("minh@example.com", "lan@example.com")
    await notifying.tell(crossed())
    delivery = await ended(notifying)
    assert (delivery["state"], delivery["attempts"]) == ("delivered", 2)
    assert inbox.recipients == [["minh@example.com"], ["lan@example.com"]]
    assert len({mail["Message-ID"] for mail in inbox.mails}) == 1


async def test_an_unknown_recipient_does_not_stop_the_others(notifying: Notifying, inbox: Inbox) -> None:
    inbox.refusals["gone@example.com"] = deque(["550 no such user"])
    await notifying.mail_channel("gone@example.com", "lan@example.com")
    await notifying.tell(crossed())
    delivery = await ended(notifying)
    assert (delivery["state"], delivery["last_error"]) == ("delivered", "1_of_2_recipients_refused")
    assert inbox.recipients == [["lan@example.com"]]


async def test_a_channel_whose_only_recipient_is_unknown_has_failed_at_once(notifying: Notifying, inbox: Inbox) -> None:
    inbox.refusals["gone@example.com"] = deque(["550 no such user"])
    await notifying.mail_channel("gone@example.com")
    await notifying.tell(crossed())
    delivery = await ended(notifying)
    assert (delivery["state"], delivery["attempts"], delivery["last_status"]) == ("failed", 1, 550)


@pytest.mark.parametrize(("answer", "state"), [("452 disk full", "delivered"), ("554 looks like spam", "failed")])
async def test_content_is_tried_again_only_after_a_temporary_refusal(
    answer: str, state: str, notifying: Notifying, inbox: Inbox
) -> None:
    inbox.refusals["data"] = deque([answer])
    await notifying.mail_channel()
    await notifying.tell(crossed())
    assert (await ended(notifying))["state"] == state


async def test_a_relay_that_is_away_is_tried_again(dsn: str) -> None:
    async with mail_relay() as gone:
        port = gone.port
    async with open_notifying(notifier_settings(dsn, port)) as notifying:
        await notifying.mail_channel()
        await notifying.tell(crossed())
        delivery = await ended(notifying)
    assert (delivery["attempts"], delivery["last_error"]) == (10, "cannot_connect")


async def test_starttls_is_used_and_the_certificate_checked(dsn: str, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with mail_relay(authority.server(LOOPBACK)) as inbox:
        settings = notifier_settings(dsn, inbox.port, smtp_tls="starttls", smtp_ca_file=authority.file)
        async with open_notifying(settings) as notifying:
            await notifying.mail_channel()
            await notifying.tell(crossed())
            assert (await ended(notifying))["state"] == "delivered"
        assert inbox.encrypted == [True]


async def test_a_certificate_nobody_trusts_is_refused(dsn: str, tmp_path: Path) -> None:
    async with mail_relay(Authority(tmp_path).server(LOOPBACK)) as inbox:
        async with open_notifying(notifier_settings(dsn, inbox.port, smtp_tls="starttls")) as notifying:
            await notifying.mail_channel()
            await notifying.tell(crossed())
            delivery = await ended(notifying)
        assert (delivery["last_error"], inbox.mails) == ("tls_failed", [])


async def test_nothing_is_sent_in_the_clear_to_a_relay_without_tls(dsn: str, inbox: Inbox) -> None:
    async with open_notifying(notifier_settings(dsn, inbox.port, smtp_tls="starttls")) as notifying:
        await notifying.mail_channel()
        await notifying.tell(crossed())
        delivery = await ended(notifying)
    assert (delivery["last_error"], inbox.mails) == ("relay_unsuitable", [])
