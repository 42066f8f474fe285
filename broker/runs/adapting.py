"""Whether a run goes on with another batch or on another machine, looked at with each checkpoint.

It ends the attempt as any wish to move does, and the next one is told the new batch. Of the job it
takes what its guest tells, with care: what is not known keeps the run as it is.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from mlbroker.broker.clouds.guest_report import Figures, figures_of
from mlbroker.broker.clouds.interface import Cloud
from mlbroker.broker.ledger import Attempt, Run, State
from mlbroker.broker.ledger.state import ADAPT, ADAPTS_TO
from mlbroker.broker.runs.order import LaunchOption, Order, kind_of, place_of
from mlbroker.broker.words import money
from mlbroker.profiles.batch import Adapt, Batch, share_done, steps_of
from mlbroker.profiles.noise_seen import misfits, noise_of, why_unknown

if TYPE_CHECKING:
    from mlbroker.policies.adapt.live import Course, Verdict, Work

_HOUR_S = 3600.0
# Fewer points of its steps are no pace.
_LEAST_POINTS = 3
# What is written down of a run beside its states; see `Ledger.append`.
Fact = tuple[str, dict[str, Any]]


class Reached(NamedTuple):
    """How far a run is: shares of all samples, and seconds of a step lately.

    `began` is where its attempt began, and `saved` where its last checkpoint stands.
    """

    began: float
    saved: float
    done: float
    step_s: float
    first_s: float


class Way(NamedTuple):
    """A machine and a batch to go on with."""

    option: LaunchOption
    batch: int
    course: "Course"


def batch_of(attempt: Attempt, batch: Batch) -> int:
    """The batch that an attempt was told."""
    return attempt.batch_size or batch.size


def began_at(order: Order, run: Run) -> float | None:
    """The share of all samples at which the run's last attempt began; None where nobody knows."""
    share = 0.0
    for attempt in run.attempts[:-1]:
        figures = figures_of(attempt.figures)
        if figures is None or figures.saved_s is None:
            continue
        reached = _reached(order, attempt, figures, share)
        if reached is None:
            return None
        share = reached.saved
    return share


class Adapting:
    """Of one run. Holds nothing that the ledger or the order does not, save what it has said."""

    @classmethod
    def of(
        cls, order: Order, opened: Callable[[str], Cloud], note: Callable[[str], None]
    ) -> Self | None:
        """Of a run that may adapt."""
        return None if order.adapt is None else cls(order, opened, note)

    def __init__(
        self,
        order: Order,
        opened: Callable[[str], Cloud],
        note: Callable[[str], None],
    ) -> None:
        assert order.batch is not None and order.adapt is not None  # noqa: PT018
        self._order = order
        self._batch = order.batch
        self._terms = order.adapt
        self._opened = opened
        self._note = note
        self._said: set[str] = set()
        self._looked_at: tuple[int, float] | None = None

    def look(self, run: Run, figures: Figures | None, now: datetime) -> Fact | None:
        """What is to be written down now: a wish to go on differently, or what is to be known."""
        if run.state is not State.RUNNING or run.stop_requested or figures is None:
            return None
        fresh = (run.attempt.number, figures.saved_s or 0.0)
        if not figures.saved_s or fresh == self._looked_at:
            return None
        self._looked_at = fresh
        told, seen = batch_of(run.attempt, self._batch), figures.training.get("noise_batch", "")
        if seen.isdecimal() and int(seen[:15]) != told:
            what = f"the job was told batch {told} and trains with {int(seen[:15])}"
            return self._once("ignores", f"{what}: it keeps that")
        noise = noise_of(figures.training, told)
        if noise is None:
            why = why_unknown(figures.training)
            if why is None:
                return None
            return self._once("noise", f"it keeps its batch: the gradient noise is unknown: {why}")
        return self._judged(run, figures, now, noise.noise)

    def _judged(self, run: Run, figures: Figures, now: datetime, noise: float) -> Fact | None:
        from mlbroker.policies.adapt.live import (
            Work,
            decide,
        )  # numpy: most looks have no use for it

        began = began_at(self._order, run)
        reached = None if began is None else _reached(self._order, run.attempt, figures, began)
        steps = _steps_at_own(self._order, run.attempt, figures)
        if reached is None or steps is None:
            return None
        moved = any(attempt.why == ADAPT for attempt in run.attempts)
        work = Work(
            steps, self._batch.size, reached.done, reached.saved, reached.began if moved else None
        )
        staying = self._staying(run, now, work, reached.step_s, noise)
        ways = list(self._ways(run, figures, now, work, reached, noise))
        courses = [way.course for way in ways]
        found = decide(staying, courses, work, self._batch.most, self._deadline_h(now))
        if found.to is not None:
            return self._wish(run, ways[found.to], found, noise, figures.training)
        if found.unpaid is not None:
            way = ways[found.unpaid]
            text = f"{self._words(run, way)} would pay, and what is left of the cap does not pay it"
            return self._once("unpaid", text)
        return None

    def _wish(
        self, run: Run, way: Way, found: "Verdict", noise: float, training: Mapping[str, str]
    ) -> Fact | None:
        from mlbroker.profiles.noise import lr_scale

        reason = f"{self._words(run, way)}: {_worth(found)}"
        if self._terms.how == Adapt.ADVISE:
            hint = "`--adapt batch`, or `adapt: batch` in the job file, does it"
            return self._once("advice", f"{reason}; {hint}")
        rate = self._batch.rate
        cloud, region, zone, kind, market = place_of(way.option)
        to: Mapping[str, Any] = {
            "cloud": cloud,
            "region": region,
            "zone": zone,
            "instance_type": kind,
            "market": market,
            "batch_size": way.batch,
            "lr_scale": rate and lr_scale(noise, self._batch.size, way.batch, rate.rule),
            "reason": reason,
            "noise": noise,
        }
        self._note(" ".join([f"It goes on from its checkpoint with {reason}.", *misfits(training)]))
        return "stop_requested", {"why": ADAPT, "by": "mlbroker", ADAPTS_TO: to}

    def _staying(
        self, run: Run, now: datetime, work: "Work", step_s: float, noise: float
    ) -> "Course":
        from mlbroker.policies.adapt.live import Course, hours_left

        batch = batch_of(run.attempt, self._batch)
        return Course(
            batch,
            hours_left(1 - work.done, work, batch, step_s, noise),
            self._order.candidate(run.attempt).bill.usd_per_hour,
            (run.attempt.kill_at - now).total_seconds() / _HOUR_S,
        )

    def _ways(
        self,
        run: Run,
        figures: Figures,
        now: datetime,
        work: "Work",
        reached: Reached,
        noise: float,
    ) -> Iterator[Way]:
        """What was measured here at other batches; and the order's other machines."""
        from mlbroker.policies.adapt.live import Course, hours_left

        here, batch = self._order.candidate(run.attempt), batch_of(run.attempt, self._batch)
        stood_s = (now - run.attempt.began_at).total_seconds()
        # Until its first steps, as it took this time.
        restart_h = max(0.0, stood_s - figures.command_s + reached.first_s) / _HOUR_S
        share = 1 - work.saved

        def way(option: LaunchOption, at: int, hours: float) -> Way | None:
            life_h = self._life_h(run, option, now)
            if life_h is None:
                return None
            once = option.bill.once_usd if option is not here else Decimal(0)
            return Way(
                option, at, Course(at, restart_h + hours, option.bill.usd_per_hour, life_h, once)
            )

        measured = dict(self._terms.step_s.get(here.instance_type, ()))
        # Machines are as busy as they are: only how batches compare is taken from before.
        slower = reached.step_s / measured[batch] if batch in measured else 1.0
        for at, step_s in measured.items():
            if at != batch and at % here.nodes == 0:
                hours = hours_left(share, work, at, step_s * slower, noise)
                if (found := way(here, at, hours)) is not None:
                    yield found
        if self._terms.how != Adapt.MOVE:
            return
        refused = {kind_of(each) for each in run.attempts if each.machine_id is None}
        for option in self._order.candidates:
            if option.predicted is None or kind_of(option) in refused | {kind_of(here)}:
                continue
            hours = share * option.predicted.p50_s / _HOUR_S
            if (found := way(option, option.batch_size or self._batch.size, hours)) is not None:
                yield found

    def _life_h(self, run: Run, option: LaunchOption, now: datetime) -> float | None:
        """How long it could live on what this attempt leaves of the reservation."""
        stood_s = Decimal(str(run.attempt.stood_s(now)))
        running = self._order.candidate(run.attempt).dearest.charge_usd(stood_s)
        left = Decimal(run.details["reserved_usd"]) - run.spent_usd - running
        traits = self._opened(option.cloud).traits
        slack_s = traits.kill_slack_s + self._order.guest_late_s
        worst = option.dearest.worst_case(left, slack_s, traits.lifetime_step_s)
        return None if worst is None else float(worst.lifetime_s) / _HOUR_S

    def _deadline_h(self, now: datetime) -> float | None:
        at = self._order.deadline_at
        if at is None:
            return None
        return (datetime.fromisoformat(at) - now).total_seconds() / _HOUR_S

    def _words(self, run: Run, way: Way) -> str:
        batch = batch_of(run.attempt, self._batch)
        here, there = run.attempt.instance_type, way.option.instance_type
        parts = [f"{here} → {there}"] if there != here else []
        parts += [f"batch {batch} → {way.batch}"] if way.batch != batch else []
        return ", ".join(parts)

    def _once(self, what: str, text: str) -> Fact | None:
        if what in self._said:
            return None
        self._said.add(what)
        self._note(text)
        return "noted", {"what": ADAPT, "detail": text}


def _worth(found: "Verdict") -> str:
    saves = f"saves {money(found.saves_usd)} USD" if found.saves_usd > 0 else ""
    if not found.rescues:
        return saves
    return f"staying would miss the deadline or the cap{saves and f', and it {saves}'}"


def _steps_at_own(order: Order, attempt: Attempt, figures: Figures) -> int | None:
    """Of all samples, in batches of the job's own size."""
    assert order.batch is not None  # who adapts has one
    size, batch = order.batch.size, batch_of(attempt, order.batch)
    if order.steps is not None:
        return order.steps
    return figures.steps and max(1, figures.steps * batch // size)


def _reached(order: Order, attempt: Attempt, figures: Figures, began: float) -> Reached | None:
    """By the steps of an attempt; None where nobody knows how many there are in all, or where it
    began, as it resumed what another run had left.
    """
    assert order.batch is not None  # who adapts has one
    batch, points = batch_of(attempt, order.batch), figures.points
    whole = steps_of(order.batch.size, order.steps, batch, figures.steps)
    if whole is None or len(points) < _LEAST_POINTS or (figures.resumed and attempt.number == 1):
        return None
    told = figures.steps is not None and whole == figures.steps

    def share(step: int) -> float:
        return share_done(step, points[0][0], whole, began, told=told)

    (middle, since_s), (last, until_s) = points[len(points) // 2 - 1], points[-1]
    kept = [step for step, at_s in points if at_s <= (figures.saved_s or 0.0)]
    saved = share(kept[-1]) if kept else began
    step_s = (until_s - since_s) / (last - middle)
    return Reached(began, saved, share(last), step_s, points[0][1]) if step_s > 0 else None
