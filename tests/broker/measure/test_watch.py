"""Following a measurement over a link that tells late, as a machine far away does."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from mlbroker.broker.errors import CloudError
from mlbroker.broker.measure.result import MeasuredOn, learnt_work, to_measurement
from mlbroker.broker.measure.watch import Observation, watch
from mlbroker.profiles.job import Job, Work
from mlbroker.profiles.measurement import Measurement
from mlbroker.profiles.stepping.stopping import StopRule

STEPS, STEP_S = 400, 0.02
JOB = Job("far", "train", work=Work(STEPS))


class Told:
    """These messages, whatever is wished meanwhile."""

    def __init__(self, *messages: Mapping[str, Any]) -> None:
        self._messages = messages
        self.stops = 0

    def messages(self) -> Iterator[Mapping[str, Any]]:
        yield from self._messages

    def stop(self) -> None:
        self.stops += 1

    def close(self) -> None:
        pass

    def failure(self) -> CloudError:
        return CloudError("nothing was told")


def steps(first: int, last: int) -> dict[str, Any]:
    return {"steps": [("marker", 1, STEP_S * n, n, STEPS, 0.0) for n in range(first, last + 1)]}


def end(how: str, time_s: float, code: int | None) -> dict[str, Any]:
    return {"end": how, "phase": "command", "exit": code, "time_s": time_s}


def seen(*after: Mapping[str, Any]) -> Observation:
    """A job that is stopped after 40 steps, and what is told of it then."""
    machine = {"vcpus": 2, "memory_gib": 4, "arch": "x86_64"}
    link = Told({"machine": machine}, {"start": "command"}, steps(0, 40), *after)
    found = watch(JOB, link, StopRule(max_steps=40))
    assert link.stops == 1
    return found


def test_a_job_that_ended_before_it_could_be_stopped_is_known_whole() -> None:
    found = seen(steps(41, STEPS), end("ended", STEPS * STEP_S, 0))
    row = to_measurement(JOB, found, MeasuredOn("far", "aws"), datetime.now(UTC), {})
    assert row.steps == STEPS
    assert row.overhead_s == pytest.approx(0, abs=STEP_S)
    assert float(row.extra["tear_down_s"]) == pytest.approx(0, abs=STEP_S)


def test_a_job_that_was_stopped_is_known_as_far_as_was_asked() -> None:
    found = seen(steps(41, 60), end("asked", 60 * STEP_S, None))
    assert found.series is not None
    assert found.series.steps == 40
    assert (
        to_measurement(JOB, found, MeasuredOn("far", "aws"), datetime.now(UTC), {}).steps == STEPS
    )


@pytest.mark.parametrize("stated", [4, 10_000])
def test_steps_stated_in_another_unit_than_counted_are_said_and_the_whole_time_is_kept(
    stated: int,
) -> None:
    job = Job("far", "train", work=Work(stated))
    machine = {"vcpus": 2, "memory_gib": 4, "arch": "x86_64"}
    link = Told({"machine": machine}, {"start": "command"}, steps(0, 100), end("ended", 2.5, 0))
    row = to_measurement(
        job, watch(job, link, StopRule()), MeasuredOn("far", "aws"), datetime.now(UTC), {}
    )
    assert (row.time_s, row.steps) == (2.5, None)
    assert f"said to have {stated:,} steps, and marker" in row.extra["steps_disagree"]


def test_an_epoch_longer_than_all_that_is_stated_is_said() -> None:
    machine = {"vcpus": 2, "memory_gib": 4, "arch": "x86_64"}
    counted = {"steps": [("tqdm@t.py:3", 1, STEP_S * n, n, 0, 0.0) for n in range(40)]}
    each = "500 steps each time"
    for stated, note, words in ((60, each, "tells of 500"), (60, "many", None), (9000, each, None)):
        job = Job("far", "train", work=Work(stated))
        epoch = {"note": ("tqdm@t.py:3", 1, "epoch", note)}
        link = Told(
            {"machine": machine}, {"start": "command"}, epoch, counted, end("asked", 0.9, None)
        )
        found = watch(job, link, StopRule(max_steps=30))
        row = to_measurement(job, found, MeasuredOn("far", "aws"), datetime.now(UTC), {})
        assert (words or "") in row.extra.get("steps_disagree", "")
        assert ("steps_disagree" in row.extra) == (words is not None)


def test_a_run_to_its_end_tells_how_many_steps_there_are_and_no_other_does() -> None:
    job = Job("far", "train")
    row = Measurement("far", "g5.xlarge", 0.5, steps=20_000, extra={"run": "r1"})
    finished = replace(row, extra=row.extra | {"ended": "finished"})
    capped = replace(row, steps=900, extra=row.extra | {"ended": "capped"})
    earlier = replace(finished, steps=7, version="before its command changed")
    assert learnt_work(job, [capped, earlier]) is None
    assert learnt_work(job, [finished, capped, earlier]) == Work(20_000, told_by="as run r1 made")
    stated = replace(job, work=Work(3))
    assert learnt_work(stated, [finished]) == Work(3)
    machine = {"vcpus": 2, "memory_gib": 4, "arch": "x86_64"}
    link = Told({"machine": machine}, {"start": "command"}, steps(0, 40), end("asked", 0.9, None))
    known = replace(job, work=learnt_work(job, [finished]))
    found = watch(known, link, StopRule(max_steps=40))
    kept = to_measurement(known, found, MeasuredOn("far", "aws"), datetime.now(UTC), {})
    assert (kept.steps, kept.extra["steps_by"]) == (20_000, "as run r1 made")
