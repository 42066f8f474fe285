"""Which machines serve a trace of requests at the objective for the least: one type, or a mix.

A mix is looked for in three steps:

- Of many types those are left out of which another does as much for no more money.
- A MILP (HiGHS, through SciPy) chooses what always runs, for each type that may follow the load:

      min  sum p_i n_i + sum c_j z_j    with    sum mu_i n_i >= sum b_j z_j,  sum z_j = 1

  of which n_i always run and serve up to one of the steps b_j, above which those that follow cost
  c_j: of the loads for which the engine still has replicas.
- Loads that add up hide the engine's delays and boots. So what came of it is replayed, and mended
  by single replicas until the share is kept and no replica can be taken away.
"""

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from itertools import combinations_with_replacement
from math import ceil, inf
from typing import NamedTuple

from mlbroker.policies.service.fleet import Choice, Fleet, Limits, Option, Single
from mlbroker.policies.service.interface import UNBOUNDED
from mlbroker.policies.service.mixed_replay import Array, Group, Outcome, Trace
from mlbroker.policies.service.spot_loss import ZONES
from mlbroker.pricing.offer import Market

# Loads that are told apart, and capacities of what always runs among which the MILP chooses.
_LEVELS, _STEPS = 400, 100
# A fleet is replayed where it may be within so much of the best, and so many of them; of replays
# that could be spared all together have so many looks.
_NEAR, _MOST_REPLAYED = 1.03, 5
_MOST_LOOKS = 3_500_000
_MOST_SOLVED = 3
_GAP = 0.005
_MOST_SINGLES = _FEW = 8
_MOST_PLACES = 2


def choose(options: Sequence[Option], trace: Trace, limits: Limits) -> Choice:
    """Each type alone where it is cheapest, and the best of all; a mix is of one place.

    Options that serve nothing at the objective are none.
    """
    options = [option for option in options if option.rps > 0]
    cheapest: dict[tuple[str, Market], Option] = {}
    places: dict[tuple[str, str], list[Option]] = {}
    for option in sorted(options, key=lambda each: each.usd_per_h):
        cheapest.setdefault((option.name, option.market), option)
        places.setdefault((option.cloud, option.region), []).append(option)
    if not cheapest:
        return Choice((), None)
    search = _Search(_undominated(cheapest.values()), trace, limits)
    singles = sorted(search.singles(), key=_by_cost)
    found = [single.fleet for single in singles if single.fleet is not None]
    several = [place for place in places.values() if len(place) > 1]
    for place in sorted(several, key=_usd_per_request)[:_MOST_PLACES]:
        if len(places) > 1:
            search = _Search(_undominated(place), trace, limits)
        found += search.mixes()
    return Choice(tuple(singles), min(found, key=lambda fleet: fleet.usd_per_h, default=None))


def _usd_per_request(place: Iterable[Option]) -> float:
    return min(float(option.usd_per_h) / option.rps for option in place)


def _by_cost(single: Single) -> tuple[bool, Decimal]:
    fleet = single.fleet
    return fleet is None, Decimal(single.would_do) if fleet is None else fleet.usd_per_h


def _undominated(options: Iterable[Option]) -> list[Option]:
    """Where there are many, without those of which another serves as much for no more money.

    Where the engine is late even such a one is of use now and then, as it is started sooner.
    Several small ones are not as good as a large one, which serves more at once.
    """
    options = list(options)
    if len(options) <= _FEW:
        return options
    kept: list[Option] = []
    for option in sorted(options, key=lambda each: (each.usd_per_h, -each.rps)):
        if not kept or option.rps > kept[-1].rps:
            kept.append(option)
    return kept


class _Key(NamedTuple):
    """How many of each option always run, and which one follows the load."""

    counts: tuple[int, ...]
    at: int

    def plus(self, at: int, more: int) -> "_Key":
        """With so many more of an option that always run."""
        counts = list(self.counts)
        counts[at] += more
        return self._replace(counts=tuple(counts))


class _Fitted(NamedTuple):
    """The least number to follow the load with which the share is kept, by replay."""

    key: _Key
    least: int
    most: int
    outcome: Outcome
    usd_per_h: float


class _Search:
    def __init__(self, options: Sequence[Option], trace: Trace, limits: Limits) -> None:
        import numpy as np

        self._options, self._trace, self._limits = options, trace, limits
        self._prices = np.array([float(option.usd_per_h) for option in options])
        self._rps = np.array([option.rps for option in options])
        self._reach = self._clip = trace.rate_for(limits.share)
        # Beside zones that are gone, others serve.
        gone = any(option.missing for option in options)
        self._most_rps = trace.peak_rps * (ZONES / (ZONES - 1) if gone else 1)
        self._played: dict[Group, Outcome] = {}
        self._looks_left = _MOST_LOOKS
        self._fits: dict[_Key, _Fitted | None] = {}
        held = trace.held_rates() if limits.scales else np.full(len(trace.span_ms), trace.peak_rps)
        order = np.argsort(held)[::-1]
        self._loads = np.minimum(held, self._clip)[order]
        self._spans = trace.span_ms[order] / trace.length_ms
        self._fine = self._levels(_LEVELS)
        # What always runs serves up to a step, and each option costs so much above it.
        self._steps = np.linspace(0.0, self._clip, _STEPS)
        loads, spans = self._fine
        above = (loads[None, :] - self._steps[:, None]).clip(0)
        self._above = [
            np.ceil(above / rps - 1e-9) @ spans * price
            for rps, price in zip(self._rps, self._prices, strict=True)
        ]

    def singles(self) -> Iterator[Single]:
        """Each type by itself, those that seem cheapest where there are many."""
        every = [self._alone(at) for at in range(len(self._options))]
        for key in sorted(every, key=self._guess)[:_MOST_SINGLES]:
            yield self._single(key)

    def mixes(self) -> list[Fleet]:
        """The best of those that the MILP proposes, mended."""
        proposed = {self._solved(at) for at in self._promising()}
        guesses = sorted((self._guess(key), key) for key in proposed)
        near = [key for guess, key in guesses if guess <= _NEAR * guesses[0][0]]
        fits = [fit for key in near[:_MOST_REPLAYED] if (fit := self._mended(key)) is not None]
        fits.sort(key=lambda fit: fit.usd_per_h)
        return [
            self._fleet(self._polished(fit))
            for number, fit in enumerate(fits)
            if number == 0 or self._looks_left > 0
        ]

    def _alone(self, at: int) -> _Key:
        return _Key((0,) * len(self._options), at)

    def _single(self, key: _Key) -> Single:
        option = self._options[key.at]
        fit = self._mended(key)
        if fit is not None:
            return Single(option, self._fleet(self._polished(fit, only=key.at)), 0)
        return Single(option, None, self._would_do(key))

    def _would_do(self, key: _Key) -> int:
        """How many serve enough if all of them always run: fewer never do."""
        low, high = 0, ceil(self._most_rps / self._options[key.at].rps)
        while low < high:
            middle = (low + high) // 2
            enough = self._keeps(key.plus(key.at, middle), 0)
            low, high = (low, middle) if enough else (middle + 1, high)
        return low

    def _mended(self, key: _Key) -> _Fitted | None:
        """With as many more that always run, of the type that follows, as the share needs."""
        short = ceil(max(self._most_rps - self._base_rps(key), 0.0) / self._options[key.at].rps)
        low, high = 0, max(min(short, self._limits.most - sum(key.counts)), 0)
        if self._fit(key) is not None:
            return self._fit(key)
        while low < high:
            middle = (low + high) // 2
            enough = self._fit(key.plus(key.at, middle)) is not None
            low, high = (low, middle) if enough else (middle + 1, high)
        return self._fit(key.plus(key.at, low))

    def _polished(self, fit: _Fitted, only: int | None = None) -> _Fitted:
        """The nearest fleet that is cheaper, and so on: at last no replica can be taken away."""
        better: _Fitted | None = fit
        while better is not None:
            fit = better
            fits = (self._fit(key) for key in self._moves(fit, only))
            cheaper = (each for each in fits if each and each.usd_per_h < fit.usd_per_h - 1e-9)
            better = next(cheaper, None)
        return fit

    def _moves(self, fit: _Fitted, only: int | None) -> Iterator[_Key]:
        """One replica less; then others in their places, those that seem cheapest first, while
        there is time for replays."""
        key, fewer = fit.key, _fewer(fit.key)
        yield from fewer
        bases = {key, *fewer, *(each for one in fewer for each in _fewer(one))}
        # With less that always runs, what follows is started sooner.
        for at, number in enumerate(key.counts):
            bases |= {key.plus(at, -less) for less in range(1, number + 1)}
        if only is None:
            follow = {key.at, *self._promising()}
            added = {base.plus(at, 1) for base in bases for at in range(len(self._options))}
            added |= set(self._swapped(key))
            added |= set(self._in_pairs(key, follow))
            near = {each._replace(at=at) for each in bases | added for at in follow}
        else:
            near = {base.plus(only, 1) for base in bases}
        guesses = sorted(
            (guess, each) for each in near if (guess := self._guess(each)) < fit.usd_per_h
        )
        for _, each in guesses:
            if self._looks_left <= 0:
                return
            yield each

    def _in_pairs(self, key: _Key, follow: set[int]) -> Iterator[_Key]:
        """Two in the places of two: the first step by itself may be dearer, or serve too little."""
        likely = sorted(follow | {at for at, number in enumerate(key.counts) if number})
        for base in {each for one in _fewer(key) for each in _fewer(one)}:
            for one, other in combinations_with_replacement(likely, 2):
                yield base.plus(one, 1).plus(other, 1)

    def _swapped(self, key: _Key) -> Iterator[_Key]:
        """Some of a type for one of another that serves about as much, or one for some."""
        for at, number in enumerate(key.counts):
            for other, rps in enumerate(self._rps):
                several = int(rps / self._rps[at])
                for fewer in range(max(several, 1), min(several + 1, number) + 1):
                    yield key.plus(at, -fewer).plus(other, 1)
                several = int(self._rps[at] / rps)
                if number:
                    yield key.plus(at, -1).plus(other, max(several, 1))
                    yield key.plus(at, -1).plus(other, several + 1)

    def _fit(self, key: _Key) -> _Fitted | None:
        if key not in self._fits:
            self._fits[key] = self._fit_anew(key)
        return self._fits[key]

    def _fit_anew(self, key: _Key) -> _Fitted | None:
        least, most = self._bounds(key)
        if most < least:
            return None
        rps, base_rps = self._options[key.at].rps, self._base_rps(key)
        enough, step = min(max(ceil((self._reach - base_rps) / rps), least), most), 1
        too_few = least - 1
        # From what did for others: up, in growing steps, or down.
        while not self._keeps(key, enough):
            if enough == most:
                return None
            too_few, enough, step = enough, min(enough + step, most), 2 * step
        step = 1
        while enough - step > too_few and self._keeps(key, enough - step):
            enough, step = enough - step, 2 * step
        too_few = max(too_few, enough - step)
        while enough - too_few > 1:
            middle = (enough + too_few) // 2
            enough, too_few = (middle, too_few) if self._keeps(key, middle) else (enough, middle)
        self._reach = base_rps + (enough - 0.5) * rps
        outcome = self._play(key, enough)
        always = float(self._prices @ key.counts)
        follows = float(self._prices[key.at]) * outcome.replica_ms / self._trace.length_ms
        return _Fitted(key, least, enough, outcome, always + follows)

    def _keeps(self, key: _Key, most: int) -> bool:
        return self._play(key, most).served >= self._limits.share

    def _play(self, key: _Key, most: int) -> Outcome:
        least, _ = self._bounds(key)
        rps = self._options[key.at].rps
        whole = Group(self._base_rps(key), rps, min(least, most), most)
        outcome = self._played_once(whole)
        served = outcome.served
        for at, option in enumerate(self._options):
            if option.missing and (key.counts[at] or (at == key.at and most)):
                gone_rps = key.counts[at] * option.rps / ZONES
                less = whole._replace(gone_base_rps=gone_rps, gone_share=(at == key.at) / ZONES)
                served -= option.missing * (outcome.served - self._played_once(less).served)
        return outcome._replace(served=served)

    def _played_once(self, group: Group) -> Outcome:
        if group not in self._played:
            self._looks_left -= len(self._trace.span_ms)
            self._played[group] = self._trace.play(group)
        return self._played[group]

    def _bounds(self, key: _Key) -> tuple[int, int]:
        """The fewest that follow the load, and the most that may be of any use."""
        always, limits = sum(key.counts), self._limits
        if not limits.scales:
            return 0, 0 if limits.least <= always <= limits.most else -1
        least = max(limits.least - always, 0)
        useful = ceil((self._most_rps - self._base_rps(key)) / self._options[key.at].rps)
        return least, min(max(useful, least), limits.most - always)

    def _base_rps(self, key: _Key) -> float:
        return float(self._rps @ key.counts)

    def _guess(self, key: _Key) -> float:
        """USD an hour, if the engine were late only in stopping replicas; infinite if too few."""
        import numpy as np

        loads, spans = self._fine
        least, most = self._bounds(key)
        above = np.ceil((loads - self._base_rps(key)) / self._options[key.at].rps - 1e-9)
        if above[0] > most:
            return inf
        follow = float(np.clip(above, least, None) @ spans)
        return float(self._prices @ key.counts) + float(self._prices[key.at]) * follow

    def _promising(self) -> list[int]:
        """Which may follow the load, by the least that it could cost: as if what always runs were
        the cheapest a request, and not whole."""
        if not self._limits.scales:
            return [0]
        cheapest = float((self._prices / self._rps).min())
        least = [(self._steps * cheapest + cost).min() for cost in self._above]
        return sorted(range(len(self._options)), key=lambda at: float(least[at]))[:_MOST_SOLVED]

    def _solved(self, at: int) -> _Key:
        """What always runs at best, where this type follows the load."""
        import numpy as np
        from scipy.optimize import Bounds, LinearConstraint, milp

        types, steps = len(self._options), self._steps
        needs = np.ceil((self._clip - steps) / self._rps[at] - 1e-9)
        most = inf if self._limits.most >= UNBOUNDED else self._limits.most
        cost = self._above[at]
        if not self._limits.scales:
            steps, needs, cost = np.array([self._clip]), np.zeros(1), np.zeros(1)
        found = milp(
            np.concatenate([self._prices, cost]),
            constraints=[
                LinearConstraint(np.concatenate([self._rps, -steps]), lb=0),
                LinearConstraint(np.repeat([0, 1], [types, len(steps)]), lb=1, ub=1),
                LinearConstraint(np.concatenate([np.ones(types), needs]), ub=most),
            ],
            integrality=np.ones(types + len(steps)),
            bounds=Bounds(0, np.repeat([np.inf, 1], [types, len(steps)])),
            options={"mip_rel_gap": _GAP},
        )
        if found.x is None:  # so few replicas are too few
            return self._alone(at)
        return _Key(tuple(int(each) for each in np.round(found.x[:types])), at)

    def _levels(self, count: int) -> "tuple[Array, Array]":
        """The loads of the trace, the greatest first, put together to so many; and how much of the
        time each is."""
        import numpy as np

        edges = np.unique(
            np.linspace(0, len(self._loads), min(count, len(self._loads)) + 1).astype(int)
        )[:-1]
        spans = np.add.reduceat(self._spans, edges)
        return np.add.reduceat(self._loads * self._spans, edges) / spans, spans

    def _fleet(self, fit: _Fitted) -> Fleet:
        """Those that always run of the type that follows are its fewest."""
        key, options = fit.key, self._options
        own = key.counts[key.at]
        base = [
            (options[at], number)
            for at, number in enumerate(key.counts)
            if number and (at != key.at or not fit.most)
        ]
        if not fit.most:
            own = 0
        usd = sum((number * option.usd_per_h for option, number in base), Decimal(0))
        peak = options[key.at] if own + fit.most else None
        following = own + Decimal(fit.outcome.replica_ms) / self._trace.length_ms
        if peak is not None:
            usd += following * peak.usd_per_h
        return Fleet(
            tuple(base),
            peak,
            own + fit.least,
            own + fit.most,
            fit.outcome.served,
            float(following),
            usd,
        )


def _fewer(key: _Key) -> list[_Key]:
    return [key.plus(at, -1) for at, number in enumerate(key.counts) if number]
