"""What the notifier is told by its environment. README.md has the table."""

from email.utils import parseaddr
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Literal, Self

from cryptography.fernet import Fernet
from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import NoDecode

from farebox.settings import Port, StoreSettings
from notifier.channel import ADDRESS

Network = IPv4Network | IPv6Network


class NotifierSettings(StoreSettings):
    """Every `FAREBOX_*` variable of the notifier."""

    smtp_host: str = Field(min_length=1, description="The mail relay.")
    smtp_port: Port = 587
    smtp_tls: Literal["starttls", "implicit", "none"] = Field(
        default="starttls",
        description="`starttls` and `implicit` refuse to send in the clear and check the relay's certificate.",
    )
    smtp_ca_file: Path | None = Field(default=None, description="Certificates to trust instead of the public ones.")
    smtp_user: str | None = None
    smtp_password_file: Path | None = Field(default=None, description="A mounted file with the relay's password.")
    mail_from: str = Field(description="Sender of all mail, as `Farebox <alerts@example.com>`.")
    console_url: str = Field(pattern=r"^https?://[^\s]+$", description="Where the console is for people's browsers.")
    sealing_key: SecretStr = Field(
        description="Fernet keys (32 bytes, URL-safe base64), comma-separated: the first seals, all open."
    )
    webhook_allowed_networks: Annotated[tuple[Network, ...], NoDecode] = Field(
        default=(),
        description="CIDRs, comma-separated, that webhooks may reach though they are not public, also by http.",
    )
    delivery_timeout_s: Annotated[float, Field(gt=0, le=60)] = Field(
        default=15.0, description="One attempt at a delivery takes no longer."
    )
    delivery_lease_s: Annotated[float, Field(gt=0, le=300)] = Field(
        default=45.0, description="After this long another replica may take over a delivery; above the timeout."
    )

    @field_validator("webhook_allowed_networks", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return tuple(ip_network(part.strip()) for part in value.split(",") if part.strip())

    @field_validator("mail_from")
    @classmethod
    def _one_sender(cls, value: str) -> str:
        if not value.isprintable() or not ADDRESS.fullmatch(parseaddr(value)[1]):
            raise ValueError("must be one address, as in `Farebox <alerts@example.com>`")
        return value

    @field_validator("sealing_key")
    @classmethod
    def _fernet_keys(cls, value: SecretStr) -> SecretStr:
        for key in value.get_secret_value().split(","):
            try:
                Fernet(key.strip())
            except ValueError:
                raise ValueError("every key must be 32 bytes in URL-safe base64") from None
        return value

    @field_validator("smtp_password_file", "smtp_ca_file")
    @classmethod
    def _readable(cls, value: Path | None) -> Path | None:
        if value is not None and not value.is_file():
            raise ValueError("there is no such file")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.smtp_user is None) != (self.smtp_password_file is None):
            raise ValueError("FAREBOX_SMTP_USER and FAREBOX_SMTP_PASSWORD_FILE belong together")
        if self.smtp_user is not None and self.smtp_tls == "none":
            raise ValueError("FAREBOX_SMTP_TLS must not be none where a password is sent")
        if self.delivery_lease_s < self.delivery_timeout_s + 1:
            raise ValueError("FAREBOX_DELIVERY_LEASE_S must be at least a second above FAREBOX_DELIVERY_TIMEOUT_S")
        return self

    def smtp_password(self) -> str | None:
        """The relay's password, read anew from its file, so that a rotated secret needs no restart."""
        return self.smtp_password_file.read_text("utf-8").strip() if self.smtp_password_file else None
