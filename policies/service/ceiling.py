"""The cap: a hard shell that no forecast can break, and a level within it that lasts the period.

The shell of a period with budget B, of which S is spent, at moment t, with end T, price p of a
replica, n_min replicas that stay up, and a lease l (with the time that stopping takes):

    H = floor((B - S - n_min p (T - t - l)) / (p l))

With at most H replicas until the lease ends, B - S is at least n_min p (T - t) again afterwards, if
it was before: the shell never falls below n_min, and never pays more than B. What of the lease lies
behind the period's end is the next period's to pay, which has its own shell.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from itertools import pairwise

from mlbroker.policies.service.interface import UNBOUNDED, Period, Sight, Terms

# This one and the next twelve: of months the longest is among them.
_PERIODS_AHEAD = 13


class Purse:
    """What was spent in each period, and how many replicas the rest of it allows.

    It knows two clocks: the clock of the day, which may jump, and one that nobody sets, counted
    from what the first said in the beginning. One of both is right. What was paid since the last
    look counts in the period that it is now by each, and the shells of both hold.
    """

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._spent: dict[Period, int] = {}
        self._metered = self._believed = 0
        self._charged: set[Period] = set()  # the periods of now, by each clock
        self.paid = 0
        self._allowed = self._before = terms.least
        self._seen: Sight | None = None
        self._then: int | None = None
        self._seen_ms = self._offset_ms = 0
        self._lowered: deque[tuple[int, int]] = deque()  # until when it may not be obeyed, from

    def look(self, sight: Sight) -> None:
        """Take in what was paid since the last look.

        Where the meter is silent, or stands still while replicas run, all that was allowed is
        taken for paid; what it says later is held against that.
        """
        if self._seen is None:
            self._seen, self._seen_ms = sight, sight.steady_ms
            self._offset_ms = sight.wall_ms - sight.steady_ms
        elapsed_ms = max(sight.steady_ms - self._seen_ms, 0)
        metered = self._read(sight, elapsed_ms)
        found: dict[Period, int] = {}
        here = []
        for now_ms in self._moments(sight):
            charges = (
                self._allowance(now_ms, elapsed_ms)
                if metered is None
                else {self._terms.period_of(now_ms): metered}
            )
            for period, units in charges.items():
                found[period] = max(found.get(period, 0), units)
            here.append(charges[self._terms.period_of(now_ms)])
        for period, units in found.items():
            self._spent[period] = self._spent.get(period, 0) + units
        self.paid += sum(charges.values())  # the same by either clock
        self._believed += min(here)
        told = self._told(elapsed_ms)
        if self._before > self._allowed:
            self._lowered.append((self._seen_ms + self._terms.slack_ms, self._before))
        self._allowed = self._before = told
        self._seen, self._then = sight, None
        self._seen_ms += elapsed_ms

    def allow(self, sight: Sight, ceiling: int) -> int:
        """As much of the ceiling as the shell lets pass until the lease ends. It may be none."""
        self._allowed = 0
        late = self._late(sight)
        shell = min(
            self._shell(period, now_ms, late)
            for now_ms in self._moments(sight)
            for period in self._touched(now_ms, now_ms + self._terms.lease_ms)
        )
        return self.grant(min(shell, ceiling, self._terms.most))

    def grant(self, most: int, then: int | None = None) -> int:
        """So much is what holds, in place of what was allowed at this look: less, of two purses.

        `then` is what holds after the lease, where that is known to be less than what is safe.
        """
        self._allowed, self._then = most, then
        return most

    def believe(self) -> None:
        """What was taken for paid was paid: a meter that goes on from there tells no more of it."""
        self._believed = self._metered = self.paid

    def safe(self) -> int:
        """How many may run from the end of the lease on, for as long as nobody looks.

        So many that all of them may run until the end of this period, with the lease paid in full,
        and all through each of the next twelve.
        """
        if self._then is None:
            assert self._seen is not None
            late = self._late(self._seen)
            found = (self._safe_from(now_ms, late) for now_ms in self._moments(self._seen))
            self._then = min(*found, self._terms.most)
        return self._then

    def spent(self, now_ms: int) -> int:
        """Units that were paid in the period of this moment."""
        return self._spent.get(self._terms.period_of(now_ms), 0)

    def left(self, now_ms: int) -> int:
        """Units that are left of the period of this moment; below zero where too much was paid."""
        return self._terms.cap - self.spent(now_ms)

    def _read(self, sight: Sight, elapsed_ms: int) -> int | None:
        """What the meter says was paid beyond what was taken for paid; None where it is dumb."""
        before, spent = self._metered, sight.spent
        periods = {self._terms.period_of(now_ms) for now_ms in self._moments(sight)}
        if periods != self._charged:
            # What was taken for paid in one period is held against no other's meter.
            self._believed, self._charged = min(self._believed, before), periods
        self._metered = before if spent is None else max(spent, before)
        stopped = sight.running == 0 and elapsed_ms <= self._terms.lease_ms
        if self._terms.slack_ms:  # what was stopped since may have been late
            stopped = stopped and self._seen is not None and self._seen.running == 0
        if spent is not None and (spent > before or stopped):
            return max(spent - self._believed, 0)
        return None

    def _allowance(self, now_ms: int, elapsed_ms: int) -> dict[Period, int]:
        """What all that was allowed cost, by period."""
        lease_ms, since_ms = self._terms.lease_ms, now_ms - elapsed_ms
        late = self._late(self._seen) if self._seen else ()
        edges = sorted(
            {0, lease_ms - self._terms.slack_ms, lease_ms, max(elapsed_ms, lease_ms)}
            | {until_ms for until_ms, _ in late}
        )
        found = {self._terms.period_of(now_ms): 0}
        for from_ms, to_ms in pairwise(min(edge, elapsed_ms) for edge in edges):
            if from_ms == to_ms:
                continue
            paid = self._held(to_ms) * self._terms.nano_usd_per_h
            for period in self._touched(since_ms + from_ms, since_ms + to_ms):
                begin_ms = max(since_ms + from_ms, period.start_ms)
                span_ms = min(since_ms + to_ms, period.end_ms) - begin_ms
                found[period] = found.get(period, 0) + paid * span_ms
        return found

    def _held(self, elapsed_ms: int) -> int:
        """The most there may be so long after the last look: what was lowered may still run."""
        late = self._late(self._seen) if self._seen else ()
        levels = (level for until_ms, level in late if elapsed_ms <= until_ms)
        return max([self._told(elapsed_ms), *levels])

    def _told(self, elapsed_ms: int) -> int:
        """The engine's maximum so long after the last look. Where a lease ends, what holds after
        it may have come into force, or not yet."""
        terms = self._terms
        if elapsed_ms > terms.lease_ms:
            return self.safe()
        ends = terms.slack_ms and elapsed_ms > terms.lease_ms - terms.slack_ms
        return max(self._allowed, self.safe()) if ends else self._allowed

    def _moments(self, sight: Sight) -> tuple[int, int]:
        return sight.wall_ms, sight.steady_ms + self._offset_ms

    def _touched(self, from_ms: int, to_ms: int) -> Iterable[Period]:
        period = self._terms.period_of(from_ms)
        yield period
        while period.end_ms < to_ms:
            period = self._terms.period_of(period.end_ms)
            yield period

    def _late(self, sight: Sight) -> list[tuple[int, int]]:
        """For how long how many may still run, of what was lowered and may not be obeyed yet."""
        if not self._terms.slack_ms:
            return []
        while self._lowered and self._lowered[0][0] <= sight.steady_ms:
            self._lowered.popleft()
        late = [(at_ms - sight.steady_ms, level) for at_ms, level in self._lowered]
        if self._before > self._allowed:
            late.append((self._terms.slack_ms, self._before))
        running = sight.running or 0
        if running > max([self._allowed, *(level for _, level in late)]):
            late.append((self._terms.slack_ms, running))  # the engine does not obey at all
        return late

    def _shell(self, period: Period, now_ms: int, late: list[tuple[int, int]]) -> int:
        terms = self._terms
        ahead_ms = period.end_ms - max(now_ms, period.start_ms)
        leased_ms = min(terms.lease_ms, ahead_ms)
        kept = terms.least * terms.nano_usd_per_h * (ahead_ms - leased_ms)
        left_ms = (terms.cap - self._spent.get(period, 0) - kept) // terms.nano_usd_per_h
        if not leased_ms:
            return UNBOUNDED
        # The greatest ceiling of which, with what is late above it, all is paid.
        above = sorted(_steps(late, leased_ms))
        while True:
            shell = max(left_ms // leased_ms, 0) if leased_ms else UNBOUNDED
            if not above or shell >= above[-1][0]:
                return shell
            level, span_ms = above.pop()
            left_ms, leased_ms = left_ms - level * span_ms, leased_ms - span_ms
            if left_ms < 0:
                return 0

    def _safe_from(self, now_ms: int, late: list[tuple[int, int]]) -> int:
        """By one clock. What holds later may come into force as early as the slack before."""
        terms, found, until_ms = self._terms, UNBOUNDED, now_ms + self._terms.lease_ms
        period, allowed = terms.period_of(now_ms), self._allowed

        def within(from_ms: int, to_ms: int) -> int:
            begin_ms = max(now_ms, period.start_ms, from_ms)
            return max(min(to_ms, period.end_ms) - begin_ms, 0)

        for _ in range(_PERIODS_AHEAD):
            leased_ms = within(now_ms, until_ms)
            rest_ms = within(until_ms, period.end_ms)
            early_ms = within(until_ms - terms.slack_ms, until_ms)
            late_ms = sum(
                max(level - allowed, 0) * span_ms
                for level, span_ms in _steps(late, within(now_ms, until_ms))
            )
            left_ms = self.left(period.start_ms) // terms.nano_usd_per_h - late_ms
            if rest_ms:
                then = (left_ms - allowed * leased_ms) // rest_ms
                if then > allowed:
                    early = (left_ms - allowed * (leased_ms - early_ms)) // (rest_ms + early_ms)
                    then = max(early, allowed)
                found = min(found, then)
            period = terms.period_of(period.end_ms)
        return max(found, 0)


def _steps(late: list[tuple[int, int]], most_ms: int) -> Iterable[tuple[int, int]]:
    """How many, each for how long, one after the other."""
    from_ms = 0
    for until_ms in sorted({min(until_ms, most_ms) for until_ms, _ in late}):
        yield max(level for end_ms, level in late if end_ms >= until_ms), until_ms - from_ms
        from_ms = until_ms


def safe_ceiling(terms: Terms, spent: int, now_ms: int) -> int:
    """So many replicas may run from now until the period ends: floor((B - S) / (p (T - t))).

    `spent` units of the period's budget are gone. Whoever holds this ceiling needs nobody to watch
    it until then. It is none where too much was spent, and may be below the fewest.
    """
    cost = terms.nano_usd_per_h * (terms.period_of(now_ms).end_ms - now_ms)
    return min(max(terms.cap - spent, 0) // cost, terms.most) if cost else terms.most


def water_level(wanted: Sequence[tuple[float, float]], least: int, replica_h: float) -> float:
    """The greatest level that `replica_h` replica-hours pay for; infinite where all is paid.

    `wanted` are replicas and for how many hours. Each hour costs as many as it wants, but at least
    `least` and at most the level.
    """
    sure = [(max(each, least), hours) for each, hours in wanted]
    if sum(each * hours for each, hours in sure) <= replica_h:
        return float("inf")
    below, hours_above = 0.0, sum(hours for _, hours in sure)
    for each, hours in sorted(sure):
        level = (replica_h - below) / hours_above
        if level <= each:
            return max(level, float(least))
        below += each * hours
        hours_above -= hours
    return float(least)
