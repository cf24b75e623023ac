"""Every mutant, by name: what chaos/README.md has a table of."""

from typing import Final

from chaos.calls import Mix
from chaos.mutants.mutant import Mutant, Patch
from chaos.schedule import Fault

_EXACT: Final = Mix(faulty=0, exact=60, above=0, several_choices=30, pictures=0)
_PLAIN: Final = Mix(faulty=0, above=0, pictures=0)

MUTANTS: Final[tuple[Mutant, ...]] = (
    Mutant(
        "input-bound-third",
        "reserves for a third of the input that a body may have",
        [
            Patch(
                "gateway",
                "admission/estimate.py",
                "input=len(call.raw) + PRIMING_TOKENS + call.media * media_tokens,",
                "input=(len(call.raw) + PRIMING_TOKENS) // 3 + call.media * media_tokens,",
            )
        ],
        ["overspent"],
        mix=_EXACT,
        orgs=["tight", "clamped"],
    ),
    Mutant(
        "n-ignored",
        "reserves for one answer where `n` asks for several",
        [Patch("gateway", "admission/estimate.py", "choices=call.choices,", "choices=1,")],
        ["overspent"],
        mix=Mix(faulty=0, exact=60, above=0, several_choices=60, pictures=0),
        orgs=["tight", "clamped"],
    ),
    Mutant(
        "leases-never-expire",
        "goes on spending what it was granted in a window that has ended",
        [
            Patch(
                "gateway",
                "shares/leases.py",
                "return lease.expires_at is not None and lease.expires_at <= now",
                "return lease.expires_at is not None and lease.expires_at <= now - 1e9",
            )
        ],
        ["overspent", "posted to another window"],
        calm_s=20.0,
        mix=_PLAIN,
        orgs=["rolling"],
    ),
    Mutant(
        "policy-changes-ignored",
        "does not hear from `account.policy` that a key was revoked, and so serves it while it cannot ask",
        [
            Patch(
                "gateway",
                "policy/policies.py",
                "        self._changed[account_id] = now\n        if revoked:",
                "        return\n        if revoked:",
            )
        ],
        ["revoked key served"],
        [Fault(4.0, "revoke_key", "", detail="1"), Fault(6.0, "cut", "budget", 40.0)],
        calm_s=4.0,
        mix=_PLAIN,
        orgs=["soft"],
    ),
    Mutant(
        "no-epoch-fence",
        "answers the older of two gateways that have one name",
        [
            Patch("budget", "shares/operations.py", "    if newest != epoch:\n", "    if newest is None:\n"),
        ],
        ["served by a fenced gateway"],
        [Fault(2.0, "zombie", "gateway-2", 20.0)],
        calm_s=4.0,
        mix=_PLAIN,
        orgs=["wide", "deep"],
    ),
    Mutant(
        "revoked-keys-valid",
        "finds the policy of a key that was revoked",
        [
            Patch(
                "budget",
                "queries.sql",
                "WHERE k.key_hash = $1 AND k.revoked_at IS NULL",
                "WHERE k.key_hash = $1",
            )
        ],
        ["revoked key served"],
        [Fault(1.0, "revoke_key", "", detail="1"), Fault(40.0, "poison", "usage.priced", detail="1")],
        calm_s=4.0,
        mix=_PLAIN,
        orgs=["soft", "wide"],
    ),
)


def mutant_named(name: str) -> Mutant:
    """Raises LookupError with the names there are."""
    for mutant in MUTANTS:
        if mutant.name == name:
            return mutant
    raise LookupError(f"no mutant {name!r}; there are {', '.join(mutant.name for mutant in MUTANTS)}")
