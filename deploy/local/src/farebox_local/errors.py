"""What can go wrong with the local stack.

StackError
├── MissingTool    the machine lacks something; the message says what to install or set instead
├── PartFailed     a part did not start, or died; carries its name and last log lines
└── StackRunning   a stack already runs on this state folder
"""


class StackError(Exception):
    """Anything that keeps the local stack from running; the message is for people."""


class MissingTool(StackError):
    """The machine lacks a tool; the message is one sentence on what to do."""


class PartFailed(StackError):
    """A part did not become ready, or died."""

    def __init__(self, part: str, reason: str, log_tail: str = "") -> None:
        self.part = part
        self.reason = reason
        self.log_tail = log_tail
        lines = f"\n--- last lines of its log ---\n{log_tail}" if log_tail else ""
        super().__init__(f"{part}: {reason}{lines}")


class StackRunning(StackError):
    """A stack already runs on this state folder."""
