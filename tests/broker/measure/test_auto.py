"""Measuring while it is worth it, on machines whose truth is a formula."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal

import pytest

from mlbroker.broker.errors import CloudError, MlbrokerError, RefusedError
from mlbroker.broker.measure.auto import ProbeOption, ProbeSearch, SearchOutcome
from mlbroker.broker.measure.profile import Profiled
from mlbroker.broker.measure.watch import Observation
from mlbroker.broker.runs.order import LaunchOption
from mlbroker.pricing.billing import Bill
from mlbroker.pricing.offer import Hardware
from mlbroker.pricing.vendors import Meter
from mlbroker.profiles.job import Job, Work
from mlbroker.profiles.measurement import Measurement, Status
from mlbroker.profiles.prediction import Evidence, Target
from mlbroker.profiles.probe_advice import Offered

STEPS = 100_000
JOB = Job("job", "run", work=Work(STEPS))


def box(vcpus: int) -> Hardware:
    return Hardware(float(vcpus), 4.0 * vcpus, "x86_64")


def option(vcpus: int, cloud: str = "ssh") -> ProbeOption:
    price = Decimal("0.05") * vcpus
    candidate = LaunchOption(cloud, "r", f"m{vcpus}", "on_demand", Bill(price, 1, Meter()))
    return ProbeOption(
        candidate, Offered(Target(cloud, f"m{vcpus}", box(vcpus)), float(price), 60.0)
    )


# Price grows with size; speed does so up to 16 vCPUs only, so that the best is in the middle.
OPTIONS = [option(v) for v in (1, 2, 4, 8, 16, 32, 64)]


def truth(candidate: LaunchOption, scale: float = 1.0) -> Measurement:
    vcpus = int(candidate.instance_type[1:])
    return Measurement(
        job="job",
        config=candidate.instance_type,
        time_s=scale * 0.8 / min(vcpus, 16) ** 1.3,
        steps=1000,
        cloud=candidate.cloud,
        instance_type=candidate.instance_type,
        # What a machine reports of itself is a little less than promised.
        hardware=box(vcpus)._replace(memory_gib=3.8 * vcpus),
    )


def cost(candidate: LaunchOption) -> float:
    return truth(candidate).time_s * float(candidate.price_per_hour_usd)


def search(
    history: Sequence[Measurement] = (),
    own: Sequence[Measurement] = (),
    cap_usd: str = "10",
    deadline_s: float | None = None,
    most: int = 10,
) -> ProbeSearch:
    evidence = Evidence(JOB, list(own), list(history))
    return ProbeSearch(evidence, OPTIONS, STEPS, Decimal(cap_usd), lambda: deadline_s, 600.0, most)


class Bench:
    """Measures by formula, and remembers what it was asked."""

    def __init__(
        self, result: Callable[[LaunchOption], Measurement | MlbrokerError] = truth
    ) -> None:
        self.result = result
        self.rounds: list[list[str]] = []
        self.said: list[str] = []
        self.limits: list[float | None] = []

    def measure(
        self, places: Sequence[LaunchOption], left_usd: Decimal, hopeless_step_s: float | None
    ) -> list[Profiled | MlbrokerError]:
        self.rounds.append([place.instance_type for place in places])
        self.limits.append(hopeless_step_s)
        found: list[Profiled | MlbrokerError] = []
        for place in places:
            result = self.result(place)
            if isinstance(result, Measurement):
                found.append(Profiled(result, Observation(), spent_usd=Decimal("0.01")))
            else:
                found.append(result)
        return found

    def run(self, what: ProbeSearch) -> SearchOutcome:
        return what.run(self.measure, self.said.append)


PAST = [
    replace(truth(o.candidate, 3.0 + i), job=f"past{i}", group=f"g{i}")
    for i in range(6)
    for o in OPTIONS
]


def test_a_few_measurements_find_a_cheap_machine_and_say_why() -> None:
    bench = Bench()
    outcome = bench.run(search())
    assert outcome.best is not None
    costs = sorted(cost(o.candidate) for o in OPTIONS)
    assert cost(outcome.best) <= costs[len(costs) // 2]
    assert 0 < len(outcome.rows) < len(OPTIONS)
    assert len({row.config for row in outcome.rows}) == len(outcome.rows)
    assert outcome.spent_usd == Decimal("0.01") * len(outcome.rows)
    assert "measuring costs about" in bench.said[0]
    assert bench.said[-1].startswith(f"Take {outcome.best.instance_type}")
    assert "on average" in bench.said[-1]


def test_past_jobs_save_measurements() -> None:
    outcome = Bench().run(search(history=PAST))
    assert outcome.best is not None
    assert cost(outcome.best) <= 1.1 * min(cost(o.candidate) for o in OPTIONS)
    assert len(outcome.rows) <= len(Bench().run(search()).rows)


def test_what_was_measured_before_is_not_measured_again() -> None:
    own = [truth(o.candidate) for o in OPTIONS]
    outcome = Bench().run(search(own=own))
    assert outcome.rows == []
    assert outcome.best is not None
    assert cost(outcome.best) == min(cost(o.candidate) for o in OPTIONS)


def test_no_more_is_measured_than_allowed() -> None:
    assert len(Bench().run(search(most=1)).rows) == 1


def test_nothing_is_measured_that_the_cap_does_not_cover() -> None:
    bench = Bench()
    assert bench.run(search(cap_usd="0.000001")).rows == []
    assert "are left" in bench.said[-1]


def test_when_the_job_fails_everywhere_nothing_is_taken() -> None:
    def failing(candidate: LaunchOption) -> Measurement:
        return replace(truth(candidate), status=Status.FAILED, reason="out of memory")

    outcome = Bench(failing).run(search())
    assert outcome.best is None
    assert len(outcome.rows) == len(OPTIONS)


def test_a_machine_that_cannot_be_had_is_left_out() -> None:
    def scarce(candidate: LaunchOption) -> Measurement | MlbrokerError:
        if candidate.instance_type in {"m16", "m4"}:
            return CloudError("no capacity")
        return truth(candidate)

    bench = Bench(scarce)
    outcome = bench.run(search(history=PAST))
    assert outcome.best is not None
    assert outcome.best.instance_type not in {"m16", "m4"}
    assert any("no capacity" in text for text in bench.said)


@pytest.mark.parametrize("error", [RefusedError("cap"), CloudError("down")])
def test_a_refusal_and_a_cloud_that_is_down_end_it(error: MlbrokerError) -> None:
    with pytest.raises(type(error)):
        Bench(lambda _: error).run(search())


def test_in_a_hurry_several_run_at_once() -> None:
    bench = Bench()
    bench.run(search(deadline_s=7200.0))
    assert len(bench.rounds[0]) > 1
    assert len(set(bench.rounds[0])) == len(bench.rounds[0])


def test_nodes_that_are_all_this_machine_are_measured_one_after_the_other() -> None:
    bench = Bench()
    here = [option(vcpus, "local") for vcpus in (1, 2, 4, 8)]
    bench.run(search(deadline_s=7200.0)._replace(options=here))
    assert bench.rounds
    assert all(len(names) == 1 for names in bench.rounds)


def test_a_hopeless_measurement_may_end_early() -> None:
    bench = Bench()
    bench.run(search(history=PAST))
    assert bench.limits[0] is None
    later = [limit for limit in bench.limits[1:] if limit is not None]
    assert all(limit > min(truth(o.candidate).time_s for o in OPTIONS) for limit in later)
