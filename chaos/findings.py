"""What an oracle finds wrong."""

from dataclasses import dataclass

from chaos.calls import Call


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that must not be. `amount` in nano-units, where it is about money; `call`, where it is about one."""

    kind: str
    story: str
    amount: int = 0
    call: Call | None = None
