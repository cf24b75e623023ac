"""What every service is told by its environment. Each service adds its own fields in its `settings` module.

Read once, in `app`; every problem is listed at once by `python -m <service> --check`.
"""

from typing import Annotated, Final, Literal, Self

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from farebox.errors import Invalid

Port = Annotated[int, Field(ge=0, le=65535)]


_PREFIX: Final = "FAREBOX_"


class ServiceSettings(BaseSettings):
    """Variables are the field names in capitals after `FAREBOX_`. Secrets have no default."""

    model_config = SettingsConfigDict(env_prefix=_PREFIX, frozen=True, extra="ignore", secrets_dir=None)

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: Port = Field(description="Port of the service's API.")
    ops_port: Port = Field(description="Port of /metrics and /healthz.")
    kafka_bootstrap: str = Field(min_length=3, description="Kafka bootstrap servers, host:port[,host:port].")
    service_secret: SecretStr = Field(
        min_length=32, description="Signs and checks calls between services; at least 32 characters."
    )
    instance: str = Field(
        default="local",
        min_length=1,
        max_length=128,
        description="Name of this replica, stable over restarts.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @classmethod
    def read(cls) -> Self:
        """From the environment. Raises Invalid with one sentence for every variable that is missing or wrong."""
        try:
            return cls()
        except ValidationError as error:
            raise Invalid(
                [
                    f"{_variable(problem['loc'])}: {problem['msg']}"
                    for problem in error.errors(include_url=False, include_input=False)
                ]
            ) from None


def _variable(location: tuple[int | str, ...]) -> str:
    """The variable a problem is about; a rule over several fields has none of its own."""
    return _PREFIX + ".".join(str(part) for part in location).upper() if location else "settings"


class StoreSettings(ServiceSettings):
    """For services that own a PostgreSQL schema."""

    postgres_dsn: SecretStr = Field(description="postgresql://role@host:port/database of this service's own role.")
    postgres_pool: Annotated[int, Field(ge=2, le=100)] = Field(default=8, description="Connections at most.")
