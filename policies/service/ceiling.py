"""The cap: a hard shell that no forecast can break, and a level within it that lasts the period.

The shell of a period with budget B, of which S is spent, at moment t, with end T, price p of a
replica, n_min replicas that stay up, and a lease l (with the time that stopping takes):

    H = floor((B - S - n_min p (T - t - l)) / (p l))

With at most H replicas until the lease ends, B - S is at least n_min p (T - t) again afterwards, if
it was before: the shell never falls below n_min, and never pays more than B. What of the lease lies
behind the period's end is the next period's to pay, which has its own shell.
"""

from collections.abc import Iterable, Sequence

from mlbroker.policies.service.interface import UNBOUNDED, Period, Sight, Terms


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
        self._allowed = terms.least
        self._seen_ms: int | None = None
        self._offset_ms = 0

    def look(self, sight: Sight) -> None:
        """Take in what was paid since the last look.

        Where the meter is silent, or stands still while replicas run, all that was allowed is
        taken for paid; what it says later is held against that.
        """
        if self._seen_ms is None:
            self._seen_ms = sight.steady_ms
            self._offset_ms = sight.wall_ms - sight.steady_ms
        elapsed_ms = max(sight.steady_ms - self._seen_ms, 0)
        self._seen_ms += elapsed_ms
        paid = self._paid(sight, elapsed_ms)
        self._believed += paid
        for period in {self._terms.period_of(now_ms) for now_ms in self._moments(sight)}:
            self._spent[period] = self._spent.get(period, 0) + paid

    def allow(self, sight: Sight, ceiling: int) -> int:
        """As much of the ceiling as the shell lets pass until the lease ends. It may be none."""
        shell = min(
            self._shell(period, now_ms)
            for now_ms in self._moments(sight)
            for period in self._touched(now_ms, now_ms + self._terms.lease_ms)
        )
        self._allowed = min(shell, ceiling, self._terms.most)
        return self._allowed

    def left(self, now_ms: int) -> int:
        """Units that are left of the period of this moment; below zero where too much was paid."""
        return self._terms.cap - self._spent.get(self._terms.period_of(now_ms), 0)

    def _paid(self, sight: Sight, elapsed_ms: int) -> int:
        before, spent = self._metered, sight.spent
        self._metered = before if spent is None else max(spent, before)
        stopped = sight.running == 0 and elapsed_ms <= self._terms.lease_ms
        if spent is not None and (spent > before or stopped):
            return max(spent - self._believed, 0)
        return self._allowed * self._terms.nano_usd_per_h * elapsed_ms

    def _moments(self, sight: Sight) -> tuple[int, int]:
        return sight.wall_ms, sight.steady_ms + self._offset_ms

    def _touched(self, from_ms: int, to_ms: int) -> Iterable[Period]:
        period = self._terms.period_of(from_ms)
        yield period
        while period.end_ms < to_ms:
            period = self._terms.period_of(period.end_ms)
            yield period

    def _shell(self, period: Period, now_ms: int) -> int:
        terms = self._terms
        ahead_ms = period.end_ms - max(now_ms, period.start_ms)
        leased_ms = min(terms.lease_ms, ahead_ms)
        kept = terms.least * terms.nano_usd_per_h * (ahead_ms - leased_ms)
        free = terms.cap - self._spent.get(period, 0) - kept
        cost = terms.nano_usd_per_h * leased_ms
        return max(free // cost, 0) if cost else UNBOUNDED


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
