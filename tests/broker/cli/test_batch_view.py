"""Why no larger batch: it is slower in all, it is not allowed, or nobody measured it."""

import pytest

from mlbroker.broker.cli.batch_view import show_planned
from mlbroker.broker.measure.batches import AtBatch
from mlbroker.profiles.batch import Batch
from mlbroker.profiles.job import Job


def at(batch: int, step_s: float, goodput: float | None) -> AtBatch:
    worth = None if goodput is None else goodput * step_s / batch
    return AtBatch(batch, "m", step_s, batch / step_s, worth, goodput, None)


OWN, LARGER = at(100, 1.0, 100), at(200, 1.25, 128)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (
            [OWN, LARGER, at(400, 5.0, 46)],
            "Why not larger than 200: at 400 a step takes 4x as long, a sample is worth 57%, and"
            " all of it takes 2.78x as long.",
        ),
        ([OWN, LARGER], "Larger than 200 was not measured: mlbroker profile JOB --batch 400"),
        ([OWN, at(400, 2.0, 115)], "Why not larger than 400: the job file allows no more"),
    ],
)
def test_why_not_larger(
    found: list[AtBatch], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    show_planned(Job("j", "x", batch=Batch(100, 400)), found, 3600, explain=True)
    told = " ".join(capsys.readouterr().out.split())
    assert said in told
    # 3,600 steps of a second at the job's own batch.
    assert "100 m 60 min" in told


@pytest.mark.parametrize(
    ("job", "found", "steps"),
    [
        (Job("j", "x", batch=Batch(100, 400)), [at(100, 1, None), at(200, 1, None)], 9),
        (Job("j", "x", batch=Batch(100, 400)), [OWN, LARGER], None),
        (Job("j", "x"), [OWN, LARGER], 9),
    ],
)
def test_what_is_not_known_is_not_shown(
    job: Job, found: list[AtBatch], steps: int | None, capsys: pytest.CaptureFixture[str]
) -> None:
    show_planned(job, found, steps, explain=True)
    assert capsys.readouterr().out == ""
