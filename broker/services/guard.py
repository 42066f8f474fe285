"""Holds a service's cap on its running engine: a look now and then, and a maximum with an end.

What a look sees goes to the policy `auto`, once for each budget; what they allow is reserved in the
ledger, written down, and told to the engine, in this order. Who dies anywhere in between has
allowed no more than is known.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from mlbroker.broker.engines.interface import Seen, Switch
from mlbroker.broker.errors import RefusedError
from mlbroker.broker.services.books import Books
from mlbroker.broker.services.journal import Block, Journal, Look
from mlbroker.broker.words import count
from mlbroker.policies.service.auto import Auto
from mlbroker.policies.service.interface import HOUR_MS, Sight, Terms

_GROWS = 2


class Moment(NamedTuple):
    """By the clock of the day, and since this start (`boot`) of the machine."""

    wall_ms: int
    up_ms: int
    boot: str


@dataclass(frozen=True, slots=True)
class Rules:
    """What the guard holds: the terms of each budget by its name, the first of which is the
    ledger's. `lease_s` is how long the engine is told to keep a maximum."""

    terms: dict[str, Terms]
    capacity_rps: float
    lease_s: float

    @property
    def first(self) -> Terms:
        """Of the budget that the ledger holds too."""
        return next(iter(self.terms.values()))


class Guard:
    """One service's, by its journal: it goes on where the one before it was."""

    def __init__(
        self,
        rules: Rules,
        switch: Switch,
        journal: Journal,
        books: Books,
        clock: Callable[[], Moment],
        warn: Callable[[str], None],
    ) -> None:
        self._rules, self._switch = rules, switch
        self._journal, self._books = journal, books
        self._clock, self._warn = clock, warn
        self.autos = {name: Auto(terms) for name, terms in rules.terms.items()}
        self._last: Look | None = None
        self._known: set[str] = set()
        self._block: Block | None = None
        self._booked = 0
        self._alarmed_ms: int | None = None
        self._said: set[str] = set()
        for look in journal.kept():
            self._go_on_from(look)
        if self._block is not None and (units := books.settled(self._block)) is not None:
            # Whoever settled it died before the next one was written down.
            self._booked, self._block = self._block.base + units, None
        for run in books.close_unknown(self._block.run_id if self._block else None):
            warn(f"run {run.run_id} was left open by a guard that nothing is known of here:"
                 " settled at the most that it can have cost")  # fmt: skip

    def look(self, *, ends: bool = False) -> Look:
        """See, decide and tell; with `ends` the safe ceiling, from now on and for good.

        CloudError where the engine does not answer: then what it was told last holds until its end.
        RefusedError where not even the first lease can be reserved.
        """
        seen = self._switch.look()
        self._refuse_foreign(seen)
        if seen.untold is not None and seen.untold not in self._said:
            self._said.add(seen.untold)
            self._warn(f"requests are not known, and are guessed by the replicas: {seen.untold}")
        sight = self._sight(seen)
        most = min(auto.ceiling(sight) for auto in self.autos.values())
        # No engine doubles between two looks, and what is allowed is reserved.
        grows = _GROWS * max(sight.wanted, sight.needed, seen.running) + 1
        most = min(most, max(grows, self._rules.first.least))
        then = self._granted(most)
        block = None if ends else self._reserved(sight, most)
        if block is None:
            # Unreserved, only what holds without any guard.
            most = min(most, then)
            then = self._granted(most)
        if ends:
            self._close()
        until_ms = round((seen.now_s + self._rules.lease_s) * 1000)
        now = self._clock()
        look = Look(
            sight, seen.now_s, now.boot, now.up_ms, most, then, until_ms, block, self._booked,
            {name: auto.purse.spent(sight.wall_ms) for name, auto in self.autos.items()},
            {name: auto.month_end(sight.wall_ms) for name, auto in self.autos.items()},
            seen.running, seen.ready, seen.foreign,
        )  # fmt: skip
        self._journal.append(look)
        self._last, self._block = look, block
        if sight.spent is None:
            for auto in self.autos.values():
                auto.purse.believe()
        self._switch.allow(self._rules.first.least, most, until_ms / 1000, then)
        if block is not None:
            self._books.created(block)
        return look

    def alarm(self, look: Look) -> str | None:
        """What to tell whoever owns the budget, if anything; once an hour."""
        if self._alarmed_ms is not None and look.sight.steady_ms - self._alarmed_ms < HOUR_MS:
            return None
        for name, auto in self.autos.items():
            times = auto.alarm(look.sight.wall_ms)
            if times is not None:
                self._alarmed_ms = look.sight.steady_ms
                return (
                    f"service {self.name} wants {times:.1f} times its usual hour, which"
                    f" would break the {name}'s budget: at most {look.most} replicas"
                )
        return None

    @property
    def name(self) -> str:
        """The service's."""
        return self._journal.name

    def stop_asked(self) -> bool:
        """Whether somebody wants the guard to end."""
        return self._journal.asked_to_stop() or self._books.stop_asked(self._block)

    def _go_on_from(self, look: Look) -> None:
        for auto in self.autos.values():
            auto.ceiling(look.sight)
            auto.purse.grant(look.most, look.then)
            if look.sight.spent is None:
                auto.purse.believe()
        self._last, self._block, self._booked = look, look.block, look.booked

    def _granted(self, most: int) -> int:
        """Note what is allowed in all purses; what is safe after it."""
        purses = [auto.purse for auto in self.autos.values()]
        for purse in purses:
            purse.grant(most)
        then = min(purse.safe() for purse in purses)
        for purse in purses:
            purse.grant(most, then)
        return then

    def _sight(self, seen: Seen) -> Sight:
        rules, last, now = self._rules, self._last, self._clock()
        steady_ms = 0
        if last is not None:
            # After a start of the machine nobody knows how long it was off: by the clock of the
            # day, and at least as long as it is up.
            elapsed_ms = (
                now.up_ms - last.up_ms
                if now.boot == last.boot
                else max(now.wall_ms - last.sight.wall_ms, now.up_ms)
            )
            steady_ms = last.sight.steady_ms + max(elapsed_ms, 0)
        rate, wanted = asked(seen, rules.capacity_rps)
        needed = math.ceil(rate / rules.capacity_rps - 1e-9)
        needed = min(max(needed, rules.first.least), rules.first.most)
        spent = self._metered(seen)
        return Sight(now.wall_ms, steady_ms, rate, needed, wanted, seen.running, spent)

    def _metered(self, seen: Seen) -> int | None:
        """Units paid since the first look: what was metered until the last, and each life since.

        None where the engine does not tell, or not for as long as nobody looked.
        """
        last, known = self._last, self._known
        if last is None:
            self._known = {life.name for life in seen.lives or ()}
            return 0
        silent = seen.now_s - last.seen_s > self._switch.remembers_s
        if seen.lives is None or silent:
            return None
        paid_s = 0.0
        for name, since_s, until_s in seen.lives:
            end_s = seen.now_s if until_s is None else min(until_s, seen.now_s)
            least_s = self._switch.minimum_s
            told = name in known or (not known and since_s <= last.seen_s)
            until_last_s = min(end_s, last.seen_s)
            before_s = max(until_last_s - since_s, least_s) if told else 0.0
            paid_s += max(max(end_s - since_s, least_s) - before_s, 0.0)
        self._known = {life.name for life in seen.lives}
        price = self._rules.first.nano_usd_per_h
        spent = last.sight.spent
        if spent is None:  # what was taken for paid was paid, for all that anybody knows
            spent = self._paid
        return spent + math.ceil(paid_s * 1000) * price

    def _reserved(self, sight: Sight, most: int) -> Block | None:
        """The reservation that the lease is made from; None where there is no room for one."""
        terms, paid = self._rules.first, self._paid
        period = terms.period_of(sight.wall_ms)
        price = most * terms.nano_usd_per_h
        if self._books.fits(self._block, period, sight.wall_ms, paid, price * terms.lease_ms):
            return self._block
        if self._block is not None:
            self._books.close(self._block, paid)
            self._booked = paid
        unbooked, until_ms = paid - self._booked, sight.wall_ms + HOUR_MS
        worst, wished = unbooked + price * terms.lease_ms, unbooked + price * HOUR_MS
        try:
            return self._books.open(period, terms.cap, self._booked, worst, wished, until_ms)
        except RefusedError as error:
            if self._last is None:
                raise
            self._warn(f"not raised: {error.what}")
            return None

    @property
    def _paid(self) -> int:
        """Units, since the first look: by all purses the same."""
        return next(iter(self.autos.values())).purse.paid

    def _close(self) -> None:
        if self._block is not None:
            self._books.close(self._block, self._paid)
            self._booked = self._paid

    def _refuse_foreign(self, seen: Seen) -> None:
        """Replicas that are not the engine's: no guard begins over them, and none ends them."""
        if not seen.foreign or (self._last is not None and self._last.foreign == seen.foreign):
            return
        what = f"{count(seen.foreign, 'replica')} there the engine did not start"
        if self._last is None:
            hint = "Take them out of the engine, or put them under another: they would be paid for."
            raise RefusedError(what, where=f"service {self.name}", hint=hint)
        self._warn(f"{what}: left alone, and counted as paid for")


def asked(seen: Seen, capacity_rps: float) -> tuple[float, int]:
    """Requests a second, and how many replicas the engine would have without a maximum: of what it
    does not tell, the one is guessed by the other."""
    rate, wanted = seen.requests_per_s, seen.wanted
    if wanted is None and seen.running < seen.most:
        wanted = seen.running
    elif wanted is None:
        # Who runs all that it may would perhaps run more.
        more = 2 * seen.most if rate is None else math.ceil(rate / capacity_rps - 1e-9)
        wanted = max(more, seen.most, 1)
    return wanted * capacity_rps if rate is None else rate, wanted
