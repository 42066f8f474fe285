"""Carries a run from its reservation to its settlement, one recorded step at a time.

Any process may carry on where another died: each step looks at the ledger, does one thing that
may be repeated, and records it. Only the process that launched the run makes machines;
later ones watch what is there, and wind up the rest.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any

from mlbroker.broker.clouds.interface import Cloud, Intent, Machine, MachineState, Unclear
from mlbroker.broker.errors import CloudError, MlbrokerError
from mlbroker.broker.ledger import Ledger, Run, State
from mlbroker.broker.ledger.state import GOING_ON, PENDING, YIELD
from mlbroker.broker.runs import pending
from mlbroker.broker.runs.adapting import Adapting
from mlbroker.broker.runs.asking import Asking
from mlbroker.broker.runs.attempt import (
    create,
    discard,
    discard_all,
    end_of,
    if_forgotten,
    intent_of,
    next_intent,
    payload_for,
)
from mlbroker.broker.runs.clock import Clock
from mlbroker.broker.runs.console import Console
from mlbroker.broker.runs.ending import Gone, LastAlive, until_gone, why_gone
from mlbroker.broker.runs.failover import goes_on, outcome_of, refusal_of, remember_shortage
from mlbroker.broker.runs.folder import RunFolder
from mlbroker.broker.runs.forecast import Forecaster
from mlbroker.broker.runs.homecoming import Way, bring_home, bring_rest, log_most
from mlbroker.broker.runs.lesson import remember
from mlbroker.broker.runs.order import Order
from mlbroker.broker.runs.placing import Next, Over, Placing
from mlbroker.broker.runs.view import View
from mlbroker.broker.runs.watch import Watcher
from mlbroker.pricing.vendors import vendor

if TYPE_CHECKING:
    from mlbroker.broker.runs.steering import Steering


class Driver:
    """Moves runs of one state folder. `opened` gives a cloud by its name."""

    def __init__(
        self,
        ledger: Ledger,
        opened: Callable[[str], Cloud],
        clock: Clock,
        folder: RunFolder,
        view: View,
        secrets: Mapping[str, str] | None = None,
        *,
        patient: bool = True,
    ) -> None:
        self._ledger = ledger
        self._opened = opened
        self._clock = clock
        self._folder = folder
        self._view = view
        # Without the values of its secrets nothing is launched: None marks a later process.
        self._secrets = secrets
        self._patient = patient
        self._ask = Asking(opened, clock, patient=patient)
        self._waiting: str | None = None
        # Of the attempt that this very object armed: nobody has asked for its machine yet.
        self._fresh: str | None = None
        self._order: Order | None = None
        self._steering: Steering | None = None
        self._adapting: Adapting | None = None
        self._watcher: Watcher | None = None
        self._placing = Placing(ledger, opened, clock, self._ask, view.warn, folder.home)
        self._last_alive = LastAlive(ledger)
        self._console = Console(folder, clock, secrets)

    def drive(self, run_id: str) -> Run:
        """Until the run is settled. Stops early only by an exception; call again to go on."""
        run = self.advance(run_id)
        while not run.settled:
            run = self._advance(run)
        return run

    def advance(self, run_id: str) -> Run:
        """One step, or one look, for a caller with other runs to look after."""
        run = self._ledger.run(run_id)
        if run is None:
            raise MlbrokerError(f"no run {run_id} in the ledger")
        if self._order is None and not run.settled:
            self._ledger.refuse_copy()
        return run if run.settled else self._advance(run)

    def _advance(self, run: Run) -> Run:
        if self._order is None:
            self._order = order = Order.load(self._folder.path, run.details["order_sha256"])
            if order.spot is not None:
                from mlbroker.broker.runs.steering import Steering  # numpy: most runs have none

                self._steering = Steering.of(order, self._opened, self._clock, self._folder.home)
            if self._secrets is not None:
                self._adapting = Adapting.of(order, self._opened, self._view.note)
        steps = {
            State.QUEUED: self._reserved,
            State.RESERVED: self._reserved,
            State.INTENDED: self._intended,
            State.ARMED: self._armed,
            State.REFUSED: self._refused,
            State.ABSENT: self._over,
            State.CREATED: self._created,
            State.CONFIRMED: self._confirmed,
            State.BOOTSTRAPPED: self._confirmed,
            State.RUNNING: self._confirmed,
            State.ENDED: self._ended,
            State.COLLECTED: self._collected,
            State.TERMINATING: self._terminating,
            State.TERMINATED: self._over,
        }
        if self._secrets is None and run.stop_requested in GOING_ON:
            # Nobody could launch it again.
            run = replace(run, stop_requested=None)
        after = steps[run.state](run)
        if after.state is not run.state:
            self._view.moved(after)
        return after

    # Each method below is one state: what to do there, and the fact that leads on.

    def _reserved(self, run: Run) -> Run:
        if self._secrets is None or run.stop_requested:
            return self._settle(run, "stopped" if run.stop_requested else "abandoned")
        return self._intend(run)

    def _intend(self, run: Run) -> Run:
        found = self._placing.next(run, self.order, self._steering)
        if isinstance(found, Over):
            return self._settle(run, found.outcome, found.detail)
        queued = run.state is State.QUEUED
        if isinstance(found, Next):
            place = (found.option, found.account, found.worst)
            intent = next_intent(run, self.order, *place, self._clock.now())
            if not queued:
                self._waiting = None
                return self._append(run, State.INTENDED, **intent)
            began = self._placing.start(run, self.order, found, intent)
            if isinstance(began, Run):
                return began
            found = began
        elif found.in_queue and not queued:
            run = self._append(run, State.QUEUED)
        return self._wait(run, found.why, found.seconds)

    def _wait(self, run: Run, why: str, seconds: float) -> Run:
        """No machine yet, which costs nothing."""
        if self._waiting != why:
            self._view.warn(why)
        self._waiting = why
        if self._patient:
            self._clock.sleep(seconds)
        return self._ledger.run(run.run_id) or run

    def _intended(self, run: Run) -> Run:
        if self._secrets is None or run.stop_requested:
            # Machines are only asked for in the state after this one.
            return self._append(run, State.ABSENT, why=run.stop_requested or "abandoned")
        cloud, intent = self._at(run)
        try:
            cloud.arm_kill(intent)
        except CloudError as error:
            sure = not isinstance(error, Unclear)
            return self._refuse(run, "not_armed", error, sure)
        self._fresh = intent.token
        return self._append(run, State.ARMED, layers=list(cloud.traits.layers))

    def _armed(self, run: Run) -> Run:
        cloud, intent = self._at(run)
        if self._secrets is None or run.stop_requested:
            # The one who armed it may have asked for the machine before it died.
            return self._prove_absent(run, run.stop_requested or "abandoned")
        is_first, self._fresh = self._fresh == intent.token, None
        try:
            payload = payload_for(self.order, run.attempt, intent, self._folder, self._secrets)
            machine = create(cloud, intent, payload, self._clock)
        except CloudError as error:
            remember_shortage(self._folder.home, intent, error, self._clock.now())
            return self._refuse(run, refusal_of(error), error, is_first and error.made_nothing)
        return self._adopt(run, machine)

    def _refuse(self, run: Run, why: str, error: CloudError, made_nothing: bool) -> Run:
        detail = str(error)
        return self._append(run, State.REFUSED, why=why, detail=detail, made_nothing=made_nothing)

    def _refused(self, run: Run) -> Run:
        why = run.attempt.why or "refused"
        if run.attempt.made_nothing:
            return self._append(run, State.ABSENT, why=why)
        return self._prove_absent(run, why)

    def _prove_absent(self, run: Run, why: str) -> Run:
        """A refused or unanswered create may have made a machine all the same: look twice."""
        cloud, intent = self._at(run)
        self._ask.patiently(run, lambda: cloud.cancel(intent))
        for last in (False, True):
            found = self._ask.patiently(run, lambda: cloud.find(intent.tags))
            if found:
                return self._adopt(run, found[0])
            if not last:
                self._clock.sleep(cloud.traits.visible_after_s)
        latest, warn = self._ask.latest(run), self._view.warn
        cost = if_forgotten(run.attempt, self.order, cloud.traits, self._clock.now(), latest, warn)
        return self._append(run, State.ABSENT, why=why, **cost)

    def _adopt(self, run: Run, machine: Machine) -> Run:
        told = {"machine_id": machine.id, "zone": machine.zone}
        if vendor(run.attempt.cloud).schedules:
            return self._append(run, State.CREATED, **told, **{PENDING: ""})
        # Vendors tell whole seconds, which may lie before the intent.
        intended = run.attempt.intended_at
        began = max(machine.started_at or intended, intended)
        return self._append(run, State.CREATED, **told, started_at=began.isoformat())

    def _created(self, run: Run) -> Run:
        cloud, _ = self._at(run)
        until = self._clock.now() + timedelta(seconds=cloud.traits.visible_after_s)
        while True:
            machine = self._ask.status(run)
            if machine is not None:
                # A short job may be over already; its end record says how it went.
                told, over = pending.whether_begun(run, machine, self._clock.now())
                if told is not None:
                    return self._append(run, State.CONFIRMED, **told)
                if over is not None:
                    return self._end(run, over.why, detail=over.detail)
                if vendor(run.attempt.cloud).schedules:
                    news = pending.news_of(run, machine, self._view.warn)
                    run = self._append(run, "noted", **news) if news else run
                elif self._clock.now() > self._ask.give_up_at(run):
                    return self._end(run, "capped")
                if run.stop_requested:
                    return self._end(run, run.stop_requested)
                if self._leaves(run):
                    return self._end(run, "move")
                if not self._patient:
                    return run
            elif self._clock.now() > until:
                if run.attempt.pending is not None and not run.stop_requested:
                    # It is not to be started any more, and may be asked for again.
                    return self._end(run, "preempted", detail=pending.FORGOTTEN)
                return self._end(run, why_gone(run, None, self._clock.now()))
            self._clock.sleep(cloud.traits.poll_s)
            run = self._ledger.run(run.run_id) or run

    def _confirmed(self, run: Run) -> Run:
        cloud, intent = self._at(run)
        asked_at = self._clock.now()
        try:
            seen = self._watch(run).look(cloud, intent, run)
            machine = None if seen.why else cloud.status(run.attempt.machine_id or "")
        except Unclear as error:
            if not self._patient or self._clock.now() > self._ask.give_up_at(run):
                raise
            self._watch(run).unreachable(error)
            self._clock.sleep(cloud.traits.poll_s)
            return run
        if seen.fact is not None:
            return self._append(run, seen.fact[0], **seen.fact[1])
        gone = machine is None or machine.state is MachineState.TERMINATED
        late = self._clock.now() > self._ask.give_up_at(run)
        if not (seen.why or gone):
            self._last_alive.saw(run, asked_at)
        if not seen.why and (gone or late):
            # It may have said how the job ended between the two looks, or long before its own end.
            seen = self._watch(run).look(cloud, intent, run, last=True)
        if seen.why:
            return self._end(run, seen.why, **seen.how)
        if machine is None or gone:
            return self._end(run, why_gone(run, machine, self._clock.now()))
        if late:
            return self._end(run, "capped", detail="the kill switch was late")
        if seen.state is not None and seen.state is not run.state:
            return self._append(run, seen.state)
        if not run.stop_requested and self._leaves(run):
            return self._append(run, "stop_requested", why="move", by="spot policy")
        if run.state is State.CONFIRMED:
            ending = machine.state is MachineState.TERMINATING
            self._console.watch(cloud, run.attempt, ending)
        if self._patient or run.stop_requested:
            self._clock.sleep(cloud.traits.poll_s)
        return self._ledger.run(run.run_id) or run

    def _leaves(self, run: Run) -> bool:
        """Whether the run's spot policy wants it elsewhere, or on no machine."""
        if self._steering is None or self._secrets is None:
            return False
        now = self._clock.now()
        return self._steering.leaves(run, now, self._watch(run).live(now))

    def _end(self, run: Run, why: str, **how: Any) -> Run:
        figures = self._watch(run).figures
        return self._append(run, State.ENDED, why=why, figures=figures and asdict(figures), **how)

    def _ended(self, run: Run) -> Run:
        cloud, intent = self._at(run)
        left = bring_home(
            partial(self._watch(run).collect, cloud, intent),
            partial(self._console.close, cloud, run.attempt),
            self._way(run, run.attempt.allowance_usd),
            self._view.warn,
        )
        return self._append(run, State.COLLECTED, **left)

    def _collected(self, run: Run) -> Run:
        cloud = self._ask.cloud_of(run)
        self._ask.patiently(run, lambda: cloud.terminate(run.attempt.machine_id or ""))
        return self._append(run, State.TERMINATING)

    def _terminating(self, run: Run) -> Run:
        cloud, _ = self._at(run)
        gone = until_gone(
            run.attempt,
            lambda: self._ask.status(run),
            lambda: self._ask.patiently(run, lambda: cloud.terminate(run.attempt.machine_id or "")),
            cloud.traits,
            self._clock,
            self._patient,
        )
        if not vendor(run.attempt.cloud).schedules:
            gone = self._last_alive.bound(run, gone)
        return self._terminated(run, gone)

    def _terminated(self, run: Run, gone: Gone) -> Run:
        cloud, intent = self._at(run)
        start = pending.told_of_start(run, gone.began_at, None)
        run = pending.started(run, start)
        latest, warn = self._ask.latest(run), self._view.warn
        told = end_of(cloud, intent, run.attempt, self.order, gone, latest, warn)
        rest = partial(self._watch(run).bring, cloud, intent)
        told |= bring_rest(run.attempt, told["charged_usd"], partial(self._way, run), rest, warn)
        return self._append(run, State.TERMINATED, **told, **start)

    def _way(self, run: Run, left_usd: Decimal) -> Way:
        option, note = self.order.candidate(run.attempt), partial(self._append, run, "noted")
        return Way(option, run.attempt, left_usd, note)

    def _over(self, run: Run) -> Run:
        """An attempt is over, for certain: disarm, then try elsewhere or settle."""
        cloud, intent = self._at(run)
        if not run.attempt.disarmed:
            self._ask.patiently(run, lambda: cloud.disarm_kill(intent))
            run = self._append(run, "disarmed")
        if run.attempt.machine_id is None:
            # What was laid down for it is lent from a small stock; nothing is there to collect.
            discard(cloud, intent, self._view.warn)
        if self._secrets is not None and goes_on(run, self.order):
            self._watcher = None
            if run.attempt.why == YIELD:
                run = self._append(run, State.QUEUED)
            return self._intend(run)
        return self._settle(run, outcome_of(run))

    def _settle(self, run: Run, outcome: str, detail: str | None = None) -> Run:
        last = run.attempts[-1] if run.attempts else None
        # Before it is settled, so that whoever carries it on after a death here does it again.
        remember(run, self.order, self._folder.home, self._view.warn)
        settled = self._append(
            run,
            State.SETTLED,
            outcome=outcome,
            spent_usd=str(run.spent_usd),
            exit_code=last.exit_code if last else None,
            detail=detail or (last.detail if last else None),
        )
        discard_all(settled, self.order, self._opened, self._view.warn)
        return settled

    @property
    def order(self) -> Order:
        """The run's order, held to the ledger's hash."""
        assert self._order is not None
        return self._order

    def _watch(self, run: Run) -> Watcher:
        if self._watcher is None:
            candidate = self.order.candidate(run.attempt)
            forecaster = Forecaster(self.order, candidate, run)
            world, most = (self._folder, self._clock, self._view), log_most(candidate, run.attempt)
            self._watcher = Watcher(self.order, forecaster, *world, most, self._adapting)
        return self._watcher

    def _append(self, run: Run, kind: str, **body: Any) -> Run:
        return self._ledger.append(self._clock.now(), run.run_id, kind, body)

    def _at(self, run: Run) -> tuple[Cloud, Intent]:
        return self._ask.cloud_of(run), intent_of(run, run.attempt, self.order)
