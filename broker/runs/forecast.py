"""Where a running job is heading: when it will be done, at what cost, and what forbids it."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from mlbroker.broker.clouds.guest_report import Status
from mlbroker.broker.ledger import Run
from mlbroker.broker.runs.adapting import began_at
from mlbroker.broker.runs.order import LaunchOption, Order
from mlbroker.broker.runs.view import Progress
from mlbroker.profiles.batch import share_done, steps_of
from mlbroker.profiles.stepping.stated import disagreement

# Too little has been seen before this many steps and seconds to say anything.
LEAST_STEPS = 3
LEAST_S = 2.0
IDLE_SHOWN_AFTER_S = 60.0
# No forecast is longer: no cap lasts so long, and calendars end.
LONGEST_S = 1e9


class Live(NamedTuple):
    """What a guest tells of its command: hours worked, and hours left by its own pace."""

    worked_h: float
    left_h: float | None


class Forecaster:
    """Watches the steps of one attempt; its pace is taken between the first and the last one."""

    def __init__(self, order: Order, candidate: LaunchOption, run: Run | None = None) -> None:
        """Of an attempt of `run` that was told another batch, steps are counted as its own."""
        self._order = order
        self._batch = None if run is None else run.attempt.batch_size
        # Where the attempt began, as a share of all samples; nothing is asked of others.
        self._began = None if run is None or self._batch is None else began_at(order, run)
        self._first_step: int | None = None
        self._candidate = candidate
        self._counted_by: str | None = None
        self._first: tuple[int, float] | None = None
        self._last: tuple[int, float] | None = None
        self._disagreement: str | None = None

    def progress(self, run: Run, status: Status, now: datetime) -> Progress:
        """The guest's status, reckoned on."""
        elapsed = max(0.0, (now - run.attempt.began_at).total_seconds())
        step, steps = self._counted(status)
        if status.counted_by != self._counted_by or (self._last and (step or 0) < self._last[0]):
            # Another count begins, with a pace of its own.
            self._counted_by, self._first, self._last = status.counted_by, None, None
        left_s = self._left_s(step, steps, status.elapsed_s or elapsed)
        spent = self._candidate.dearest.charge_usd(Decimal(str(elapsed)))
        idle_s = status.idle_s
        idle = idle_s if idle_s and idle_s >= IDLE_SHOWN_AFTER_S else None
        deadline = self._order.deadline_at
        watts = self._candidate.watts
        return Progress(
            phase=status.phase,
            elapsed_s=elapsed,
            spent_usd=run.spent_usd + spent,
            cap_usd=run.cap_usd,
            kill_at=run.attempt.kill_at,
            step=step,
            steps=steps,
            disagreement=self._disagreement,
            finish_at=None if left_s is None else now + timedelta(seconds=left_s),
            total_usd=None
            if left_s is None
            else run.spent_usd + self._candidate.dearest.charge_usd(Decimal(str(elapsed + left_s))),
            deadline_at=datetime.fromisoformat(deadline) if deadline else None,
            cpu=status.cpu,
            gpu=status.gpu,
            idle_s=idle,
            idle_usd=None
            if idle is None
            else self._candidate.dearest.charge_usd(Decimal(str(idle))),
            checkpoint_fault=status.checkpoint_fault,
            energy_kwh=None if watts is None else watts * elapsed / 3.6e6,
        )

    def _counted(self, status: Status) -> tuple[int | None, int | None]:
        """Steps done, and in all. After a change of the batch both are of the new one: as if all
        samples that were gone through before had been gone through with it.
        """
        step, batch = status.step, self._order.batch
        if batch is None or (self._batch in (None, batch.size) and not self._began):
            return step, self._steps(status)
        assert self._batch is not None
        whole = steps_of(batch.size, self._order.steps, self._batch, status.steps)
        if step is None or whole is None or self._began is None:
            return step, whole
        if self._first_step is None or step < self._first_step:
            self._first_step = step
        told = whole == status.steps
        share = share_done(step, self._first_step, whole, self._began, told=told)
        whole = steps_of(batch.size, self._order.steps, self._batch, None) or whole
        return round(share * whole), whole

    def _steps(self, status: Status) -> int | None:
        """How many there are in all; None once those that were stated cannot be those counted."""
        stated = self._order.steps
        if stated is None or status.step is None:
            return stated or status.steps
        told = disagreement(stated, status.step, status.steps, status.counted_by)
        self._disagreement = self._disagreement or told
        return None if self._disagreement else stated

    def _left_s(self, step: int | None, steps: int | None, at_s: float) -> float | None:
        if step is None:
            return None
        if self._first is None:
            self._first = (step, at_s)
        if self._last is None or step != self._last[0]:
            self._last = (step, at_s)
        done, took = self._last[0] - self._first[0], self._last[1] - self._first[1]
        if steps is None or done < LEAST_STEPS or took < LEAST_S:
            return None
        # A job that hangs gets no faster by it: time since the last step counts too.
        since = max(0.0, at_s - self._last[1])
        return min(LONGEST_S, max(0.0, (steps - step) * took / done - since))


def overrun(progress: Progress) -> str | None:
    """What the forecast breaks, in words, or None while cap, kill time and deadline hold."""
    if progress.finish_at is None or progress.total_usd is None:
        return None
    if progress.finish_at > progress.kill_at:
        return (
            f"at this pace it would be done at {progress.finish_at:%Y-%m-%d %H:%M:%S} UTC and cost "
            f"{progress.total_usd:.2f} USD, but the cap ends it at "
            f"{progress.kill_at:%Y-%m-%d %H:%M:%S} UTC"
        )
    if progress.deadline_at is not None and progress.finish_at > progress.deadline_at:
        return (
            f"at this pace it would be done at {progress.finish_at:%Y-%m-%d %H:%M:%S} UTC, after "
            f"the deadline of {progress.deadline_at:%Y-%m-%d %H:%M:%S} UTC"
        )
    return None
