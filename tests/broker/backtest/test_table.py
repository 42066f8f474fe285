from dataclasses import replace
from decimal import Decimal

import pytest

from mlbroker.broker.backtest.table import understand
from mlbroker.broker.errors import InputError
from mlbroker.pricing.offer import Gpu, Hardware
from mlbroker.profiles.measurement import Measurement, Status


def row(job: str, config: str, time_s: float, **more: object) -> Measurement:
    return replace(Measurement(job, config, time_s, Decimal("1")), **more)


def test_repeats_are_pooled_and_steps_multiplied() -> None:
    table = understand(
        [row("j", "a", 2.0, steps=100), row("j", "a", 8.0, steps=100), row("j", "b", 5.0)],
        "t",
        print,
    )
    assert table.jobs[0].time_s.tolist() == pytest.approx([400.0, 5.0])


def test_what_fails_more_often_than_not_does_not_work() -> None:
    failed = Status.FAILED
    rows = [row("j", "a", 9.0, status=failed), row("j", "a", 7.0, status=failed)]
    rows += [row("j", "a", 3.0), row("j", "b", 4.0)]
    table = understand(rows, "t", print)
    assert table.jobs[0].worked.tolist() == [False, True]


def test_what_is_left_out_is_said() -> None:
    said: list[str] = []
    rows = [
        row("j", "a", 1.0),
        row("j", "b", 1.0, price_per_hour_usd=None),
        row("k", "a", 1.0, status=Status.FAILED),
    ]
    table = understand(rows, "t.csv", said.append)
    assert table.configs == ("a",)
    assert [job.name for job in table.jobs] == ["j"]
    assert any("1 rows without a price" in text for text in said)
    assert any("k never worked" in text for text in said)


@pytest.mark.parametrize(
    ("rows", "word"),
    [
        ([row("j", "a", 1.0, price_per_hour_usd=None)], "price"),
        ([row("j", "a", 1.0, status=Status.FAILED)], "worked"),
    ],
)
def test_nothing_to_play_with_is_bad_input(rows: list[Measurement], word: str) -> None:
    with pytest.raises(InputError, match=word):
        understand(rows, "t.csv", print)


def test_gpus_that_a_configuration_leaves_unused_are_not_counted() -> None:
    four = Hardware(48, 192, "x86_64", gpu=Gpu("T4", 16), gpu_count=4)
    rows = [
        row("j", "one", 4.0, hardware=four, features={"gpus": 1.0}),
        row("j", "eight", 1.0, hardware=four, nodes=2, features={"gpus": 8.0}),
        row("j", "plain", 9.0),
    ]
    table = understand(rows, "t", print)
    counts = {
        name: hardware and hardware.gpu_count
        for name, hardware in zip(table.configs, table.hardware, strict=True)
    }
    assert counts == {"one": 1.0, "eight": 4.0, "plain": None}
    assert dict(zip(table.configs, table.nodes, strict=True)) == {"one": 1, "eight": 2, "plain": 1}
