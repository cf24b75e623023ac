"""Whether marks were crossed and resolved as often as spending says, and in an order that makes sense."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from typing import TypeAlias
from uuid import UUID

from chaos.budgets import Budget
from chaos.evidence import Evidence
from chaos.findings import Finding
from farebox.events import BudgetState, ThresholdCrossed, ThresholdMark, ThresholdResolved

Window: TypeAlias = tuple[str, str]
"""Budget id, start of the window."""
Seen: TypeAlias = tuple[int, int, int]
"""The window's revision, its limit revision, and what was spent."""


@dataclass(slots=True)
class Story:
    """All that is known of one mark in one window; `seen` and `crossed` in order, `posted` as the books end."""

    name: str
    percent: str
    limits: Mapping[int, int]
    seen: Sequence[Seen]
    posted: Seen | None = None
    crossed: list[ThresholdCrossed] = field(default_factory=list)
    ended: Counter[int] = field(default_factory=Counter)

    def is_reached(self, seen: Seen) -> bool:
        _, limit_revision, spent = seen
        return spent > 0 and spent * 100 >= self.limits[limit_revision] * int(self.percent)


def occurrence_findings(budgets: Mapping[UUID, Budget], evidence: Evidence) -> Iterator[Finding]:
    """All sentences about occurrences. A mark that was reached and has no event at all is `alerts`' business."""
    steady = {budget_id: budget for budget_id, budget in budgets.items() if not budget.is_switched}
    for story in _stories(steady, evidence):
        yield from _each_occurrence_follows_an_end(story)
        yield from _each_end_is_told_once(story)
        yield from _as_often_as_it_was_seen(story)
        yield from _the_last_occurrence_is_open_while_the_mark_is_reached(story)
        yield from _what_is_posted_is_told_as_real(story)
        yield from _people_hear_once_and_of_no_false_alarm(story)


def mark_id(mark: ThresholdMark) -> str:
    """As `percent:75`."""
    return "percent:?" if mark.percent is None else f"percent:{mark.percent.normalize():f}"


def _stories(budgets: Mapping[UUID, Budget], evidence: Evidence) -> list[Story]:
    seen, posted = _seen(evidence), _posted(evidence)
    stories: dict[tuple[Window, str], Story] = {}

    def of(state: BudgetState, mark: ThresholdMark) -> Story:
        window, name = (str(state.budget_id), state.window.start.isoformat()), mark_id(mark)
        if (window, name) not in stories:
            budget = budgets[state.budget_id]
            said = f"{name} of {budget.account} ({budget.mode} {budget.measure}, from {window[1][:10]})"
            percent = name.removeprefix("percent:")
            stories[window, name] = Story(said, percent, budget.limits, seen.get(window, ()), posted.get(window))
        return stories[window, name]

    for told in evidence.events:
        if told.event.budget.budget_id not in budgets:
            continue
        if isinstance(told.event, ThresholdCrossed):
            of(told.event.budget, told.event.threshold).crossed.append(told.event)
        elif isinstance(told.event, ThresholdResolved):
            of(told.event.budget, told.event.threshold).ended[told.event.occurrence] += 1
    for story in stories.values():
        story.crossed.sort(key=lambda event: event.occurrence)
    return [stories[place] for place in sorted(stories)]


def _seen(evidence: Evidence) -> dict[Window, list[Seen]]:
    """What was spent in each window, as often as the balances and at last the books tell."""
    found: defaultdict[Window, set[Seen]] = defaultdict(set)
    for balance in evidence.balances:
        state = balance.budget
        window = str(state.budget_id), state.window.start.isoformat()
        found[window].add((state.revision, state.limit_revision, state.spent))
    for row in evidence.windows:
        window = str(row["budget_id"]), row["window_start"].isoformat()
        found[window].add((row["revision"], row["limit_revision"], int(row["posted"] + row["suspended"])))
    return {window: sorted(seen) for window, seen in found.items()}


def _posted(evidence: Evidence) -> dict[Window, Seen]:
    """What the books end with, without what is in suspense."""
    return {
        (str(row["budget_id"]), row["window_start"].isoformat()): (
            row["revision"],
            row["limit_revision"],
            int(row["posted"]),
        )
        for row in evidence.windows
    }


def _each_occurrence_follows_an_end(story: Story) -> Iterator[Finding]:
    """Of the one before; or comes with another limit, or with the posting of what only suspense had reached."""
    for before, after in pairwise(story.crossed):
        is_other = before.budget.limit_revision != after.budget.limit_revision
        is_confirmed = before.provisional and not after.provisional
        if not (is_other or is_confirmed or story.ended[before.occurrence]):
            why = f"{story.name}: occurrence {after.occurrence} began before {before.occurrence} was over"
            yield Finding("needless alert event", why)


def _each_end_is_told_once(story: Story) -> Iterator[Finding]:
    begun = {event.occurrence for event in story.crossed}
    for number, times in sorted(story.ended.items()):
        if number not in begun:
            yield Finding("needless alert event", f"{story.name}: occurrence {number} was resolved and never told")
        if times > 1:
            yield Finding("doubled alert event", f"{story.name}: occurrence {number} was resolved {times} times")


def _as_often_as_it_was_seen(story: Story) -> Iterator[Finding]:
    """At least: between two balances that were published spending may have gone up and down unseen."""
    told = Counter(event.budget.limit_revision for event in story.crossed)
    states = [(seen[1], story.is_reached(seen)) for seen in story.seen]
    due = Counter(limit_revision for (limit_revision, is_reached), _ in groupby(states) if is_reached)
    for limit_revision, times in sorted(due.items()):
        if told[limit_revision] < times:
            why = f"{story.name}, revision {limit_revision}: reached {times} times, told {told[limit_revision]} times"
            yield Finding("missed alert event", why)


def _the_last_occurrence_is_open_while_the_mark_is_reached(story: Story) -> Iterator[Finding]:
    if not story.crossed or not any(story.is_reached(seen) for seen in story.seen):
        return
    last = story.crossed[-1].occurrence
    if story.is_reached(story.seen[-1]) and story.ended[last]:
        yield Finding("missed alert event", f"{story.name} is reached, and its last occurrence, {last}, was resolved")
    if not story.is_reached(story.seen[-1]) and not story.ended[last]:
        yield Finding("missed alert event", f"{story.name} is not reached any more, and {last} was not resolved")


def _what_is_posted_is_told_as_real(story: Story) -> Iterator[Finding]:
    """What suspense reached first is told once more when it is posted: only then people may hear of it."""
    if story.posted and story.is_reached(story.posted) and story.crossed and story.crossed[-1].provisional:
        yield Finding("missed alert event", f"{story.name} is posted, and was told of suspense alone")


def _people_hear_once_and_of_no_false_alarm(story: Story) -> Iterator[Finding]:
    """A run is shorter than a day."""
    told = [event for event in story.crossed if event.notify_people]
    if len(told) > 1:
        yield Finding("needless mail", f"{story.name}: people were to hear of it {len(told)} times")
    for event in told:
        if event.provisional:
            yield Finding("needless mail", f"{story.name}: people were to hear of what only suspense had reached")
