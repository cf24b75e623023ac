import smtplib
from email.message import EmailMessage

import httpx
import pytest

from support.sinks import MailSink


def send(sink: MailSink, *, subject: str, html: str | None = None) -> None:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "farebox@example.com", "an@example.com", subject
    mail.set_content("in text")
    if html is not None:
        mail.add_alternative(html, subtype="html")
    with smtplib.SMTP("127.0.0.1", sink.smtp_port) as smtp:
        smtp.send_message(mail)


def test_a_mail_is_kept_with_text_and_html(mail_sink: MailSink) -> None:
    send(mail_sink, subject="Ngân sách đã dùng 75 %", html="<p>29.000 VND</p>")
    [mail] = mail_sink.messages()
    assert (mail["subject"], mail["to"]) == ("Ngân sách đã dùng 75 %", ["an@example.com"])
    assert (mail["text"], mail["html"]) == ("in text\n", "<p>29.000 VND</p>\n")


def test_a_mail_is_shown_without_scripts(mail_sink: MailSink) -> None:
    send(mail_sink, subject="shown", html="<p>29.000 VND</p>")
    answer = httpx.get(f"{mail_sink.url}/messages/{mail_sink.messages()[0]['n']}/html")
    assert answer.text == "<p>29.000 VND</p>\n"
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_the_page_lists_subjects_as_text(mail_sink: MailSink) -> None:
    send(mail_sink, subject="<script>alert(1)</script>")
    page = httpx.get(mail_sink.url).text
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>" not in page


def test_refused_mail_is_not_kept_and_a_later_one_is(mail_sink: MailSink) -> None:
    mail_sink.refuse(451)
    with pytest.raises(smtplib.SMTPDataError):
        send(mail_sink, subject="refused")
    send(mail_sink, subject="taken")
    assert [mail["subject"] for mail in mail_sink.messages()] == ["taken"]
