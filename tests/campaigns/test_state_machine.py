"""Hypothesis drives runs through launches, crashes, faults, preemptions, clock jumps, deletes."""

import math
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tests.support.campaign import figures, size
from tests.support.sim_runs import RISING, SimRuns

from mlbroker.broker.clouds.interface import Unclear
from mlbroker.broker.errors import MlbrokerError
from mlbroker.broker.ledger import IllegalStep
from mlbroker.broker.runs.driver import Driver

EXAMPLES, STEPS = size(25, 2000), size(25, 50)
CALLS = (
    "arm_kill",
    "create",
    "find",
    "status",
    "terminate",
    "report",
    "fetch",
    "disarm_kill",
    "price_paid",
)
COUNTS: Counter[str] = Counter()


class Runs(RuleBasedStateMachine):
    """A client that launches runs one after another, and a vendor with moods."""

    @initialize(rises_after_s=st.sampled_from([0.0, 20.0, math.inf]), tells=st.booleans())
    def open(self, rises_after_s: float, tells: bool) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="machine-"))
        self.sim = SimRuns(self.folder, candidates=RISING)
        with self.sim.service.world() as world:
            world.rises_after_s, world.tells_price = rises_after_s, tells
        self.drivers: dict[str, Driver] = {}
        self.launched = 0
        COUNTS["examples"] += 1

    @rule(
        job_s=st.sampled_from([1.0, 60.0, 400.0, 5000.0]),
        code=st.sampled_from([0, 0, 0, 1]),
        packing_s=st.sampled_from([0.0, 0.0, 30.0, 600.0]),
        steps=st.sampled_from([40, 12, 4, 0]),
    )
    def launch(self, job_s: float, code: int, packing_s: float, steps: int) -> None:
        with self.sim.service.world() as world:
            world.job_s, world.job_code, world.packing_s = job_s, code, packing_s
        self.launched += 1
        run_id = f"r{self.launched}"
        self.sim.reserve(run_id)
        self.drivers[run_id] = self.sim.driver(run_id, {})
        COUNTS["launches"] += 1
        self._go_on(steps)

    @rule(steps=st.integers(1, 8))
    def go_on(self, steps: int) -> None:
        self._go_on(steps)

    def _go_on(self, steps: int) -> None:
        for run_id, driver in self.drivers.items():
            for _ in range(steps):
                try:
                    if driver.advance(run_id).settled:
                        break
                except (Unclear, MlbrokerError):
                    COUNTS["gave up"] += 1
                    break

    @rule(again=st.booleans())
    def crash(self, again: bool) -> None:
        """All clients die; later processes carry on, which may watch but not launch."""
        COUNTS["crashes"] += len(self.drivers)
        ids = list(self.drivers)
        self.drivers = {i: self.sim.driver(i, None) for i in ids} if again else {}

    @rule()
    def reconcile(self) -> None:
        if not self.drivers:
            self.sim.reconcile()

    @rule(call=st.sampled_from(CALLS), times=st.integers(1, 4), after=st.booleans())
    def throttle(self, call: str, times: int, after: bool) -> None:
        with self.sim.service.world() as world:
            (world.lost_after if after else world.lost_before)[call] = times
        COUNTS["lost calls"] += times

    @rule(kinds=st.sets(st.sampled_from(["small", "medium", "large"])))
    def sell_out(self, kinds: set[str]) -> None:
        with self.sim.service.world() as world:
            world.no_capacity = kinds

    @rule(hidden=st.sampled_from([0.0, 10.0, 19.0]), failing=st.integers(0, 2))
    def be_slow(self, hidden: float, failing: int) -> None:
        with self.sim.service.world() as world:
            world.hidden_s, world.failing_deletes = hidden, failing

    @rule()
    def preempt(self) -> None:
        COUNTS["preemptions"] += self.sim.service.preempt()

    @rule()
    def console_delete(self) -> None:
        COUNTS["console deletes"] += self.sim.service.console_delete()

    @rule(seconds=st.sampled_from([1.0, 30.0, 3600.0, 40 * 86400.0]))
    def jump(self, seconds: float) -> None:
        self.sim.service.sleep(seconds)
        COUNTS["clock jumps"] += 1

    @rule(which=st.integers(0, 5))
    def stop(self, which: int) -> None:
        wish = {"why": "stopped", "by": "somebody"}
        try:
            self.sim.ledger.append(self.sim.service.now(), f"r{which}", "stop_requested", wish)
        except IllegalStep:
            return

    @invariant()
    def one_machine_an_attempt_and_one_attempt_at_a_time(self) -> None:
        if not hasattr(self, "sim"):
            return
        with self.sim.service.world() as world:
            tokens = [machine.token for machine in world.machines]
            alive = Counter(m.tags["mlbroker-run"] for m in world.machines if not m.ended_at)
        assert len(tokens) == len(set(tokens))
        assert all(count == 1 for count in alive.values())

    def teardown(self) -> None:
        if not hasattr(self, "sim"):
            return
        try:
            with self.sim.service.world() as world:
                world.lost_before.clear()
                world.lost_after.clear()
            self.sim.wind_up()
            self.sim.check()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)


def test_the_state_machine() -> None:
    from hypothesis.stateful import run_state_machine_as_test

    chosen: Any = settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    with figures("state-machine") as kept:
        run_state_machine_as_test(Runs, settings=chosen)  # type: ignore[no-untyped-call]
        kept |= {"steps each": STEPS, **COUNTS}
