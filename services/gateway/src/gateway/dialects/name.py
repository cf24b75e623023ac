"""What can be a name in an event."""

from typing import Final, TypeGuard

NAME_CHARS_MAX: Final = 256


def is_name(value: object) -> TypeGuard[str]:
    """Whether it is printable text of at most NAME_CHARS_MAX characters."""
    return isinstance(value, str) and 0 < len(value) <= NAME_CHARS_MAX and value.isprintable()
