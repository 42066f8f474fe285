"""Measuring while it is worth it: on a handful of machines, and on hundreds with a known truth."""

from dataclasses import replace
from decimal import Decimal

from mlbroker.broker.measure.auto import Chooser, Option, measure_while_worth, whole_s
from mlbroker.broker.runs.order import Candidate
from mlbroker.pricing.offer import Hardware
from mlbroker.profiles.job import Job, Work
from mlbroker.profiles.measurement import Measurement, Status

JOB = Job("job", "run", work=Work(100_000))


def option(vcpus: int, price: str) -> Option:
    candidate = Candidate("local", "r", f"m{vcpus}", "on_demand", 1, Decimal(price))
    return Option(candidate, Hardware(float(vcpus), 4.0 * vcpus, "x86_64"))


# Price grows with size; speed does so up to 16 vCPUs only, so that the best is in the middle.
OPTIONS = [option(v, str(Decimal("0.05") * v)) for v in (1, 2, 4, 8, 16, 32, 64)]


def truth(candidate: Candidate, scale: float = 1.0) -> Measurement:
    vcpus = int(candidate.instance_type[1:])
    step_s = scale * 0.8 / min(vcpus, 16) ** 1.3
    return Measurement(
        "job", candidate.instance_type, step_s, steps=1000, cloud="local",
        instance_type=candidate.instance_type,
        price_per_hour_usd=candidate.price_per_hour_usd,
        hardware=Hardware(float(vcpus), 4.0 * vcpus, "x86_64"),
    )  # fmt: skip


def cost(candidate: Candidate) -> float:
    return whole_s(JOB, truth(candidate)) * float(candidate.price_per_hour_usd)


def run(history: list[Measurement], most: int = 10) -> tuple[list[Measurement], Candidate | None]:
    chooser = Chooser(JOB, OPTIONS, [], history, 60.0, None)
    return measure_while_worth(chooser, OPTIONS, most, truth, lambda _: None)


def test_a_few_measurements_find_a_cheap_machine() -> None:
    rows, chosen = run([])
    assert chosen is not None
    costs = sorted(cost(o.candidate) for o in OPTIONS)
    assert cost(chosen) <= costs[len(costs) // 2]
    assert 0 < len(rows) < len(OPTIONS)
    assert len({row.config for row in rows}) == len(rows)


def test_history_saves_measurements() -> None:
    past = [
        replace(truth(o.candidate, 3.0 + i), job=f"past{i}", group=f"g{i}")
        for i in range(6)
        for o in OPTIONS
    ]
    rows, chosen = run(past)
    assert chosen is not None
    assert cost(chosen) <= 1.1 * min(cost(o.candidate) for o in OPTIONS)
    assert len(rows) <= len(run([])[0])


def test_no_more_is_measured_than_allowed() -> None:
    rows, chosen = run([], most=1)
    assert len(rows) == 1
    assert chosen is not None


def test_a_failure_is_learnt_and_another_is_chosen() -> None:
    def failing(candidate: Candidate) -> Measurement:
        row = truth(candidate)
        return Measurement("job", row.config, 1.0, status=Status.FAILED, reason="out of memory")

    chooser = Chooser(JOB, OPTIONS[:2], [], [], 60.0, None)
    rows, _ = measure_while_worth(chooser, OPTIONS[:2], 5, failing, lambda _: None)
    assert len(rows) <= 2
    known = Chooser(JOB, OPTIONS, [truth(o.candidate) for o in OPTIONS], [], 60.0, None)
    rows, chosen = measure_while_worth(known, OPTIONS, 5, failing, lambda _: None)
    assert rows == []
    assert chosen is not None
    assert cost(chosen) == min(cost(o.candidate) for o in OPTIONS)
