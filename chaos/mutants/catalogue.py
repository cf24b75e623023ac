"""Every mutant, by name: what chaos/README.md has a table of."""

from typing import Final

from chaos.calls import Mix
from chaos.mutants.mutant import Mutant, Patch
from chaos.schedule import GATEWAYS, SILENT_S, SKEWED_S, STALLED_S, Fault

_EXACT: Final = Mix(faulty=0, exact=60, above=0, several_choices=30, pictures=0)
_PLAIN: Final = Mix(faulty=0, above=0, pictures=0)

MUTANTS: Final[tuple[Mutant, ...]] = (
    Mutant(
        "input-bound-third",
        "reserves for a third of the input that a body may have",
        [
            Patch(
                "gateway",
                "admission/bounds.py",
                "shown = call.content.text_bytes + PRIMING_TOKENS + added.tokens",
                "shown = (call.content.text_bytes + PRIMING_TOKENS) // 3 + added.tokens",
            )
        ],
        ["overspent"],
        mix=_EXACT,
        orgs=["tight", "clamped"],
    ),
    Mutant(
        "n-ignored",
        "reserves for one answer where `n` asks for several",
        [Patch("gateway", "admission/bounds.py", "choices=call.choices,", "choices=1,")],
        ["overspent"],
        per_s=60.0,  # what is overdrawn counts at once, so that only calls side by side pass the limit
        mix=Mix(faulty=0, exact=100, above=0, several_choices=100, pictures=0),
        orgs=["tight", "clamped"],
    ),
    Mutant(
        "shares-never-end",
        "goes on spending what it was granted in a window that has ended",
        [
            Patch(
                "gateway",
                "shares/shares.py",
                "return self.ends_at is not None and self.ends_at <= now",
                "return self.ends_at is not None and self.ends_at <= now - 1e9",
            ),
            Patch(
                "gateway",
                "policy/policies.py",
                "if is_older and asked_at < budget.window_since + WRONG_CLOCK_S:",
                "if window.key.start != budget.window.key.start:",
            ),
        ],
        ["held in another window", "posted to another window"],
        calm_s=25.0,
        per_s=6.0,
        mix=_PLAIN,
        orgs=["rolling"],
    ),
    Mutant(
        "policy-changes-ignored",
        "does not hear, from `account.policy` or from beats, that a key was revoked: serves it while it cannot ask",
        [
            Patch(
                "gateway",
                "policy/policies.py",
                "        self._changed[account_id] = now\n        if revoked:",
                "        return\n        if revoked:",
            ),
            Patch(
                "gateway",
                "budget_link/heartbeat.py",
                "for account in answer.changed or ():",
                "for account in ():",
            ),
            Patch(
                "gateway", "budget_link/heartbeat.py", "if answer.changed is None or", "if answer.changed is False or"
            ),
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
            Patch("budget", "shares/operations.py", "if now is None:", "if now is None and beat.epoch < 0:"),
            Patch("budget", "shares/raises.py", "if newest != request.epoch:", "if newest is None:"),
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
                "WHERE k.key_hash = ANY ($1::text[]) AND k.revoked_at IS NULL",
                "WHERE k.key_hash = ANY ($1::text[])",
            )
        ],
        ["revoked key served"],
        [Fault(1.0, "revoke_key", "", detail="1"), Fault(40.0, "poison", "usage.priced", detail="1")],
        calm_s=4.0,
        mix=_PLAIN,
        orgs=["soft", "wide"],
    ),
    Mutant(
        "excess-uncounted",
        "does not count what a bill is above its reserve until the ledger posts it",
        [
            Patch("gateway", "shares/shares.py", "self.spent += spent", "self.spent += min(spent, reserve)"),
        ],
        ["overspent"],
        [Fault(0.5, "pause", "metering", 45.0), Fault(0.5, "pause", "metering-2", 45.0)],
        calm_s=2.0,
        per_s=4.0,  # the ledger is late, and the budget lasts longer than an excess is excused
        mix=Mix(faulty=0, above=25, pictures=0),
        orgs=["tight"],
    ),
    Mutant(
        "power-loss-believed",
        "takes a journal that lacks its last seconds for the whole story",
        [
            Patch(
                "gateway",
                "journal/journal.py",
                'boot is not None and (replay.is_closed or (boot == self._boot != ""))',
                "True",
            ),
            Patch(
                "budget",
                "queries.sql",
                "ELSE $5 AND $3 >= g.epoch AND $4 >= g.last_record END",
                "ELSE $5 AND $3 >= g.epoch END",
            ),
        ],
        ["lost", "stranded"],
        [
            Fault(2.0, "stall", "kafka", 9.0),
            Fault(8.0, "power_loss", "gateway-2", 4.0),
            Fault(9.0, "power_loss", "gateway", 4.0),
        ],
        calm_s=5.0,
        mix=_PLAIN,
        orgs=["deep", "wide"],
    ),
    Mutant(
        "buried-on-read-only",
        "buries good events as dead letters while the database cannot be written to",
        [
            Patch("farebox", "kafka/subscriber.py", "alone_tries: int = 160", "alone_tries: int = 3"),
            Patch(
                "farebox",
                "sqlstate.py",
                '    "27": "triggered',
                '    "25": "invalid transaction state",\n    "27": "triggered',
            ),
        ],
        ["buried alive", "not posted"],
        [Fault(2.0 + 15.0 * number, "read_only", "postgres", 12.0) for number in range(4)],
        calm_s=5.0,
        per_s=0.7,  # a batch of one record is buried soon, one of several is not
        mix=_PLAIN,
        orgs=["soft"],
    ),
    Mutant(
        "narrowed-by-other-names",
        "admits by the names in the catalogue, and posts by those of the upstream and of the model that was served",
        [
            Patch("budget", "posting/rules.py", "if entry.held is None:", "if entry.kind:"),
            Patch(
                "budget",
                "posting/rules.py",
                "if start is not None:",
                "if start is not None and _counts(lane.budget, entry):",
            ),
            Patch(
                "farebox",
                "matching.py",
                "    if one.casefold() == other.casefold():\n        return True\n",
                "    return one == other\n",
            ),
        ],
        ["not posted", "overspent"],
        mix=_PLAIN,
        orgs=["narrow"],
    ),
    Mutant(
        "share-lacks-a-budget",
        "holds a call only in the windows that it happens to have shares of",
        [
            Patch(
                "gateway",
                "shares/shares.py",
                "if share is None and not amount[window.measure]:",
                "if share is None:",
            ),
            Patch(
                "gateway",
                "shares/shares.py",
                "if self._room(window.key) < amount[window.measure]]",
                "if window.key in self._shares and self._room(window.key) < amount[window.measure]]",
            ),
            Patch("budget", "shares/raises.py", "in hard.items() if budget.applies_to(call)", "in [*hard.items()][:1]"),
        ],
        ["overspent"],
        calm_s=12.0,
        mix=_PLAIN,
        orgs=["narrow"],
    ),
    Mutant(
        "living-released",
        "releases what a gateway holds that is only silent",
        [
            Patch("budget", "shares/operations.py", "if left_s > 0:", "if left_s > 1e9:"),
        ],
        ["released while it lives"],
        [Fault(5.0, "silence", "gateway-2", SILENT_S)],
        calm_s=5.0,
        mix=_PLAIN,
        orgs=["tight", "deep"],
    ),
    Mutant(
        "fenced-admits",
        "goes on admitting calls after another gateway has taken its name",
        [
            Patch(
                "gateway",
                "budget_link/service.py",
                'raise Fenced("a newer process has claimed this gateway\'s name")',
                'raise BudgetAway("a newer process has claimed this gateway\'s name")',
            )
        ],
        ["served by a fenced gateway"],
        [Fault(2.0, "zombie", "gateway-2", 20.0), Fault(3.0, "zombie", "gateway-3", 20.0)],
        calm_s=4.0,
        per_s=6.0,
        mix=_PLAIN,
        orgs=["soft", "wide"],
    ),
    Mutant(
        "alarm-not-rearmed",
        "does not tell of a threshold again that suspense crossed, and un-crossed when it ended",
        [
            Patch(
                "budget",
                "alerts/occurrences.py",
                "        if self.open is None or self.open.limit_revision != limit_revision:\n            return True",
                "        if self.open is None:\n            return not self.newest\n"
                "        if self.open.limit_revision != limit_revision:\n            return True",
            ),
            Patch(
                "budget",
                "alerts/occurrences.py",
                "return self.open.provisional and not provisional",
                "return False",
            ),
        ],
        ["missed alert event"],
        # Nobody spends while all shares are in suspense; what they reached then is reached by spending afterwards.
        [Fault(4.0, "pause", gateway, SILENT_S) for gateway in GATEWAYS],
        calm_s=15.0,
        per_s=20.0,
        mix=_PLAIN,
        orgs=["tight", "deep", "clamped", "won"],
    ),
    Mutant(
        "wrong-clock-believed",
        "serves calls, and dates their charges, by a clock that is a day off",
        [
            Patch(
                "gateway",
                "policy/catalogue_age.py",
                "if self.as_of - self.lead <= at < self.as_of + self.lead:",
                "if self.lead:",
            ),
            Patch("gateway", "budget_link/books_clock.py", "if self._anchor is None:\n", "if self._clock:\n"),
        ],
        ["misdated"],
        [
            Fault(2.0, "skew", "gateway-2", SKEWED_S, "86400"),
            Fault(8.0, "skew", "gateway-3", SKEWED_S, "-86400"),
        ],
        calm_s=5.0,
        mix=_PLAIN,
        orgs=["deep", "won", "rolling"],
    ),
    Mutant(
        "older-record-wins",
        "lets a record that was held up for long take the place of a newer one on a compacted topic",
        [
            Patch(
                "farebox",
                "compacted.py",
                "if (await backlog(self._pool)).oldest_age_s > LOOK_EVERY_S:",
                "if LOOK_EVERY_S:",
            ),
            Patch(
                "gateway",
                "policy/prices.py",
                "if known is not None and not heard.is_newer_than(known):",
                "if known is not None and heard is known:",
            ),
        ],
        ["outdated record"],
        [
            Fault(1.0, "add_price", "", detail="1"),
            Fault(4.0, "stall_one", "metering", STALLED_S),
            *(Fault(5.0 + 1.3 * number, "change_price", "", detail=str(number)) for number in range(6)),
        ],
        calm_s=5.0,
        per_s=0.3,  # a relay that stands holds what it took first: that must be a price
        mix=_PLAIN,
        orgs=["wide", "deep"],
    ),
    Mutant(
        "estimate-believed",
        "counts the estimate of what nobody reported as if it were the bill: nothing is uncertain",
        [
            Patch(
                "gateway",
                "attempts/charge.py",
                "if usage.source is UsageSource.REPORTED and is_whole:",
                "if usage:",
            ),
            Patch(
                "gateway",
                "attempts/attempts.py",
                "settle(fields, worst, worst.beyond(guess.amount))",
                "settle(fields, guess.amount, NOTHING)",
            ),
            Patch(
                "gateway",
                "attempts/attempts.py",
                "_entry(id_, reservation, worst, reservation.at, event)",
                "_entry(id_, reservation, guess.amount, reservation.at, event)",
            ),
        ],
        ["overspent"],
        calm_s=15.0,
        mix=Mix(faulty=60, exact=60, above=0, pictures=0),
        orgs=["tight", "clamped"],
    ),
)


def mutant_named(name: str) -> Mutant:
    """Raises LookupError with the names there are."""
    for mutant in MUTANTS:
        if mutant.name == name:
            return mutant
    raise LookupError(f"no mutant {name!r}; there are {', '.join(mutant.name for mutant in MUTANTS)}")
