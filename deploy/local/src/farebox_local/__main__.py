"""`python -m farebox_local up [--background] | down | status | clean`: the stack behind `make up`."""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from farebox_local import demo
from farebox_local.errors import StackError
from farebox_local.process import noted
from farebox_local.stack import Plan, Stack, is_up, stop_stack

_FOLDER = Path(__file__).resolve().parents[4] / ".farebox"
_KEPT_BY_CLEAN = "cache"
_READY_WITHIN_S = 180.0
_WATCH_EVERY_S = 0.5
# Set for a supervisor in the background whose output is copied to a terminal.
_SHOWN_ELSEWHERE = "FAREBOX_UP_ON_TERMINAL"


class _Stopped(BaseException):
    """SIGTERM came, or Ctrl-C."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m farebox_local")
    parser.add_argument("--folder", type=Path, default=_FOLDER, help="state folder (%(default)s)")
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="start everything")
    up.add_argument("--background", action="store_true", help="return when it is ready")
    commands.add_parser("down", help="stop what runs in the background")
    commands.add_parser("status", help="which parts run")
    commands.add_parser("clean", help="stop, and remove all state but downloads")
    arguments = parser.parse_args()
    try:
        _run(arguments)
    except StackError as error:
        print(f"\n{error}", file=sys.stderr)
        raise SystemExit(1) from None


def _run(arguments: argparse.Namespace) -> None:
    folder: Path = arguments.folder.resolve()
    match arguments.command:
        case "up" if arguments.background:
            _up_in_background(folder)
        case "up":
            _up(folder)
        case "down":
            _down(folder)
        case "status":
            _status(folder)
        case "clean":
            _clean(folder)


def _up(folder: Path) -> None:
    started = time.monotonic()
    plan = Plan(
        folder,
        kafka_bootstrap=os.environ.get("FAREBOX_KAFKA_BOOTSTRAP"),
        postgres_dsn=os.environ.get("FAREBOX_POSTGRES_DSN"),
    )
    with _stopping_on_signals():
        stack = Stack(plan, say=lambda line: print(f"  {line}", flush=True))
        try:
            print(f"Starting Farebox in {folder}", flush=True)
            stack.up()
            key = demo.seed(stack.around)
            _show_traffic(stack.around.url("gateway"), key)
            _print_summary(stack.describe(key), folder, time.monotonic() - started)
            while True:
                time.sleep(_WATCH_EVERY_S)
                stack.check()
        except _Stopped:
            print("\nStopping", flush=True)
        finally:
            _ignore_signals()
            stack.down()


@contextmanager
def _stopping_on_signals() -> Iterator[None]:
    def stop(_: int, __: FrameType | None) -> None:
        raise _Stopped

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    try:
        yield
    except _Stopped:  # before there was anything to stop
        return


def _ignore_signals() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _show_traffic(gateway_url: str, key: str) -> None:
    """A refused demo call is shown; what was started stays up to be looked at."""
    try:
        demo.traffic(gateway_url, key, _show_progress)
    except StackError as error:
        print(f"\n  {error}", flush=True)


def _show_progress(done: int) -> None:
    if not (sys.stdout.isatty() or _SHOWN_ELSEWHERE in os.environ or done == demo.CALLS):
        return
    end = "\n" if done == demo.CALLS else ""
    print(f"\r  demo traffic: {'█' * done}{'░' * (demo.CALLS - done)} {done} calls", end=end, flush=True)


def _print_summary(stack: dict[str, Any], folder: Path, seconds: float) -> None:
    ask = '{"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "What does this cost?"}]}'
    metrics = "\n            ".join(f"{row['metrics_url']}  {name}" for name, row in stack["services"].items())
    print(
        f"""
Farebox is up ({seconds:.0f} s).

  gateway   {stack["gateway_url"]}
  API key   {stack["api_key"]}
  mail      {stack["mail_url"]}
  webhooks  {stack["webhook_url"]}/hooks/demo
  metrics   {metrics}
  logs      {folder / "logs"}
  programs  {folder / "stack.json"}

  curl -i {stack["gateway_url"]}/v1/chat/completions \\
    -H 'Authorization: Bearer {stack["api_key"]}' -H 'Content-Type: application/json' \\
    -d '{ask}'

Ctrl-C stops it; `make down` if it runs in the background.""",
        flush=True,
    )


def _up_in_background(folder: Path) -> None:
    log = folder / "logs" / "supervisor.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("")
    with log.open("ab") as output:
        environment = {**os.environ, **({_SHOWN_ELSEWHERE: "1"} if sys.stdout.isatty() else {})}
        child = subprocess.Popen(
            [sys.executable, "-m", "farebox_local", "--folder", str(folder), "up"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=environment,
        )
    shown = 0
    deadline = time.monotonic() + _READY_WITHIN_S
    while child.poll() is None and not is_up(folder, child.pid):
        shown = _show_more(log, shown)
        if time.monotonic() > deadline:
            child.terminate()
            raise StackError(f"not ready within {_READY_WITHIN_S:.0f} s; see {log}")
        time.sleep(0.2)
    time.sleep(0.2)
    _show_more(log, shown)
    if child.poll() is not None:
        raise SystemExit(child.returncode or 1)


def _show_more(log: Path, shown: int) -> int:
    output = log.read_bytes()  # not as text, which would make lines of the progress bar's steps
    sys.stdout.buffer.write(output[shown:])
    sys.stdout.buffer.flush()
    return len(output)


def _down(folder: Path) -> None:
    print("stopped" if stop_stack(folder) else "nothing runs")


def _status(folder: Path) -> None:
    notes = sorted((folder / "run").glob("*.pid"))
    for note in notes:
        print(f"{note.stem:12} {'running' if noted(note) else 'gone   '}  {folder / 'logs' / note.stem}.log")
    if not notes:
        print("nothing runs")


def _clean(folder: Path) -> None:
    _down(folder)
    for entry in folder.iterdir() if folder.exists() else ():
        if entry.name == _KEPT_BY_CLEAN:
            continue
        if entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink()


if __name__ == "__main__":
    main()
