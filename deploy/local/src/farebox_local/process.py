"""One child process with a name, a log file and a pid file."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypedDict

import psutil

from farebox_local.errors import PartFailed

_POLL_S = 0.05
_LOG_MAX_BYTES = 20_000_000
"""A log that is larger at a start is put aside as `<name>.log.1`."""


class Owner(NamedTuple):
    """The system user a part runs as."""

    uid: int
    gid: int


class _Identity(TypedDict, total=False):
    user: int
    group: int
    extra_groups: list[int]


def as_owner(owner: Owner | None) -> _Identity:
    """The arguments of `subprocess` that run a child as that user, in no group but its own."""
    return {} if owner is None else {"user": owner.uid, "group": owner.gid, "extra_groups": []}


class Process:
    """A part of the stack that runs as its own process.

    It lives in its own session, so that Ctrl-C reaches the supervisor alone, which then stops
    the parts in order. Its output goes to `<folder>/logs/<name>.log`; `<folder>/run/<name>.pid` lets
    the next run find a part that was left over.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        folder: Path,
        env: Mapping[str, str] | None = None,
        owner: Owner | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        stop_within_s: float = 15.0,
    ) -> None:
        self.name = name
        self.command = list(command)
        self.log = folder / "logs" / f"{name}.log"
        self._pid_file = pid_file(folder, name)
        self._env = dict(env) if env is not None else None
        self._owner = owner
        self._stop_signal = stop_signal
        self._stop_within_s = stop_within_s
        self.once: Mapping[str, str] = {}
        """Variables on top of its environment, for the next start alone."""
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The process id, or None when it does not run."""
        return self._child.pid if self._child is not None and self.alive else None

    @property
    def alive(self) -> bool:
        """Whether the process runs (or is paused)."""
        return self._child is not None and self._child.poll() is None

    @property
    def exit_code(self) -> int | None:
        """How it ended (negative: by that signal); None while it runs or before its first start."""
        return self._child.poll() if self._child is not None else None

    def spawn(self) -> None:
        """Start the process without waiting for it to be ready; ends a leftover of an earlier run."""
        if self.alive:
            return
        end_leftover(self._pid_file)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self._pid_file.parent.mkdir(parents=True, exist_ok=True)
        if self.log.exists() and self.log.stat().st_size > _LOG_MAX_BYTES:
            self.log.rename(self.log.with_suffix(".log.1"))
        once, self.once = self.once, {}
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**(os.environ if self._env is None else self._env), **once},
                **as_owner(self._owner),
                start_new_session=True,
            )
        self._pid_file.write_text(note_of(self._child.pid))

    def wait_ready(self, ready: Callable[[], bool], within_s: float) -> None:
        """Poll `ready` until it holds.

        Raises PartFailed when the process ends first or the time is up.
        """
        deadline = time.monotonic() + within_s
        while not ready():
            if not self.alive:
                raise self.failure(f"ended with code {self.exit_code} before it was ready")
            if time.monotonic() > deadline:
                raise self.failure(f"not ready within {within_s:.0f} s")
            time.sleep(_POLL_S)

    def ask_to_stop(self) -> None:
        """Send the signal that asks it to end, without waiting."""
        if self._child is not None and self.alive:
            self._child.send_signal(signal.SIGCONT)  # one that is paused hears nothing
            self._child.send_signal(self._stop_signal)

    def wait_stopped(self) -> None:
        """Return once it has ended; killed, if it takes longer than a part of its kind may."""
        if self._child is None:
            return
        try:
            self._child.wait(self._stop_within_s)
        except subprocess.TimeoutExpired:
            self.kill()
        self._pid_file.unlink(missing_ok=True)

    def stop(self) -> None:
        """Ask it to end, and wait until it has."""
        self.ask_to_stop()
        self.wait_stopped()

    def kill(self) -> None:
        """SIGKILL to the process and to every child it has, and wait until they are gone."""
        if self._child is None or not self.alive:
            return
        family = psutil.Process(self._child.pid).children(recursive=True)
        self._child.kill()
        for member in family:
            _kill_quietly(member)
        self._child.wait()
        psutil.wait_procs(family, timeout=5)
        self._pid_file.unlink(missing_ok=True)

    def pause(self) -> None:
        """SIGSTOP: alive, but deaf, as on a frozen machine."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT after `pause`."""
        self._signal(signal.SIGCONT)

    def log_tail(self, lines: int = 15) -> str:
        """The last lines of its log, empty if there is none."""
        try:
            with self.log.open("rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - 16_384))
                text = log.read().decode("utf-8", "replace")
        except FileNotFoundError:
            return ""
        return "\n".join(text.splitlines()[-lines:])

    def failure(self, reason: str) -> PartFailed:
        """The error that says this part failed, with its last log lines."""
        return PartFailed(self.name, reason, self.log_tail())

    def _signal(self, number: signal.Signals) -> None:
        if self._child is None or not self.alive:
            raise PartFailed(self.name, f"cannot get {number.name}: it does not run")
        self._child.send_signal(number)


def _kill_quietly(process: psutil.Process) -> None:
    try:
        process.kill()
    except psutil.NoSuchProcess:
        return


def pid_file(folder: Path, name: str) -> Path:
    """Where the process id of a part is noted while it runs."""
    return folder / "run" / f"{name}.pid"


def noted(note: Path) -> psutil.Process | None:
    """The process a pid file names, if it still is that process and not a later one with its number."""
    try:
        pid, started = note.read_text().split()
        process = psutil.Process(int(pid))
    except (FileNotFoundError, ValueError, psutil.NoSuchProcess):
        return None
    is_the_same = abs(process.create_time() - float(started)) < 1
    return process if is_the_same and not _has_ended(process) else None


def note_of(pid: int) -> str:
    """What a pid file says of a running process."""
    return f"{pid} {psutil.Process(pid).create_time()}\n"


def end_noted(note: Path, within_s: float = 15.0) -> bool:
    """End the process a pid file names, killing it only when it takes too long. Returns whether there was one."""
    process = noted(note)
    if process is None:
        return False
    process.terminate()
    deadline = time.monotonic() + within_s
    while not _has_ended(process):
        if time.monotonic() > deadline:
            process.kill()
        time.sleep(_POLL_S)
    return True


def _has_ended(process: psutil.Process) -> bool:
    # An orphan's exit code is for the machine's first process to fetch, which may take its time.
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def end_leftover(note: Path) -> bool:
    """End the process of an earlier run and forget its pid file. Returns whether there was one."""
    ended = end_noted(note)
    note.unlink(missing_ok=True)
    return ended
