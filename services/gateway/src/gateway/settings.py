"""What the gateway is told by its environment."""

import os
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, HttpUrl, SecretStr

from farebox.errors import Invalid
from farebox.settings import ServiceSettings
from gateway.shares.shares import IDLE_S
from gateway.upstreams import directory

Seconds = Annotated[float, Field(gt=0, le=3600)]
Bytes = Annotated[int, Field(ge=1024, le=1 << 40)]


def _readable_routes(path: Path) -> Path:
    """So that `--check` tells what is wrong in the file too."""
    try:
        directory.read(path)
    except Invalid as error:
        raise ValueError("; ".join(error.problems)) from None
    return path


def _writable_folder(path: Path) -> Path:
    nearest = next(parent for parent in (path, *path.absolute().parents) if parent.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        raise ValueError(f"{nearest} is no folder that can be written to")
    return path


class GatewaySettings(ServiceSettings):
    """See the table in `services/gateway/README.md`."""

    instance: str = Field(
        min_length=1,
        max_length=128,
        description="Name of this replica in the share protocol: its own, and stable over restarts. It has no default.",
    )
    routes: Annotated[Path, AfterValidator(_readable_routes)] = Field(
        description="JSON file of the upstreams, see gateway.upstreams.directory."
    )
    journal: Annotated[Path, AfterValidator(_writable_folder)] = Field(
        description="Folder of the journal; on a local disk, one gateway process each."
    )
    boot_id_file: Path = Field(
        default=Path("/proc/sys/kernel/random/boot_id"),
        description="File that names this boot of the machine. Without one, every crash counts as a power loss.",
    )
    budget_url: HttpUrl = Field(description="Root of the budget service.")
    metering_url: HttpUrl = Field(description="Root of the metering service.")
    notifier_url: HttpUrl = Field(description="Root of the notifier service.")
    admin_token: SecretStr = Field(min_length=24, description="Whoever shows it at /api is platform-admin.")

    body_limit_bytes: Bytes = Field(default=8 << 20, description="Longest body of a model call.")
    answer_limit_bytes: Bytes = Field(default=64 << 20, description="Longest answer that is taken from a provider.")
    max_tokens_limit: Annotated[int, Field(ge=1, le=10_000_000)] = Field(
        default=1_000_000, description="A call that asks for more output is refused."
    )
    policy_fresh_s: Annotated[float, Field(gt=0, le=30)] = Field(
        default=25.0, description="A key's policy is asked for again after at most so long."
    )
    policy_stale_s: Annotated[float, Field(gt=0, le=900)] = Field(
        default=600.0, description="While the budget service is away, a policy is used for at most so long."
    )
    share_idle_s: Seconds = Field(
        default=IDLE_S, description="What nobody drew on for so long goes back, also where nobody else asks for it."
    )
    believed_tokens: Annotated[int, Field(ge=1, le=10**12)] = Field(
        default=5_000_000,
        description="A report of more tokens than these, and than ten times what the call held, is not believed.",
    )
    drain_s: Seconds = Field(
        default=60.0, description="How long a stream is read on when its caller has gone, where its upstream finishes."
    )
    drain_bytes: Bytes = Field(default=16 << 20, description="How much of it is read on.")
    journal_segment_bytes: Bytes = Field(default=16 << 20, description="A journal file is ended at this length.")
    journal_limit_bytes: Bytes = Field(default=4 << 30, description="The journal never grows beyond this.")
    upstream_connections: Annotated[int, Field(ge=1, le=10_000)] = Field(
        default=1000, description="Connections to all providers at most."
    )
