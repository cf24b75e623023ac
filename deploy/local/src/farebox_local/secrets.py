"""Generated secrets of one state folder, kept between runs."""

import secrets
from pathlib import Path


class Secrets:
    """One file a secret in `<folder>/secrets`, readable for the owner only."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "secrets"

    def of(self, name: str) -> str:
        """The secret of that name; made at the first call (256 bits, URL-safe)."""
        known = self.known(name)
        return self.keep(name, secrets.token_urlsafe(32)) if known is None else known

    def path(self, name: str) -> Path:
        """The file of the secret of that name."""
        return self._folder / name

    def known(self, name: str) -> str | None:
        """The secret of that name if there is one."""
        try:
            return self.path(name).read_text()
        except FileNotFoundError:
            return None

    def keep(self, name: str, value: str) -> str:
        """Keep a secret that was made elsewhere; returns it."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        note = self.path(name)
        note.touch(mode=0o600)
        note.write_text(value)
        return value
