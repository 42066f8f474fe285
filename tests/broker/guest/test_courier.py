"""The courier's way out: outputs travel in parts, and nothing is written that is not new."""

import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlbroker.broker.guest import courier
from mlbroker.broker.guest.pace import wait_s
from mlbroker.broker.guest.packing import pack
from mlbroker.pricing.bucket import HEEDS, LOOKS, WRITES, Pace


class Bucket:
    """Keeps what it is sent, and tells in which order; refuses at first."""

    def __init__(self, *refusals: Exception) -> None:
        self.refusals = list(refusals)
        self.arrived: dict[str, bytes] = {}
        self.asked: list[str] = []

    def put(self, key: str, data: bytes) -> None:
        if self.refusals and self.arrived:
            raise self.refusals.pop()
        self.asked.append(key)
        self.arrived[key] = data

    def get(self, key: str) -> None:
        self.asked.append(key)

    def interruption(self) -> None:
        return None


class Time(SimpleNamespace):
    """Seconds pass only when told so."""

    def __init__(self) -> None:
        super().__init__(at=1000.0)

    def monotonic(self) -> float:
        return float(self.at)

    def sleep(self, seconds: float) -> None:
        self.at += seconds


def carrying(box: Path, bucket: Any) -> courier.Courier:
    found = courier.Courier("program", str(box), bucket, "runs/token", 0)
    found._pace = {"writes": list(WRITES), "heeds": list(HEEDS)}
    return found


def test_outputs_travel_in_parts_that_are_sent_until_they_arrive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(courier, "OUTPUTS_PART_BYTES", 3000)
    monkeypatch.setattr(courier, "time", Time())
    (tmp_path / "outputs").mkdir()
    (tmp_path / "outputs" / "model").write_bytes(b"m" * 10_000)
    bucket = Bucket(OSError("no answer"), ValueError("no sense"))
    carrying(tmp_path, bucket)._push_outputs()
    whole = io.BytesIO()
    pack(str(tmp_path / "outputs"), whole)
    assert bucket.refusals == []
    assert b"".join(bucket.arrived.values()) == whole.getvalue()
    begins = range(0, len(whole.getvalue()), 3000)
    assert list(bucket.arrived) == [f"runs/token/0/outputs.tar/{begin:015d}" for begin in begins]


def test_what_is_not_new_is_written_once_a_minute_and_an_end_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A quiet job's clock and load are all that changes."""
    time = Time()
    monkeypatch.setattr(courier, "time", time)
    bucket = Bucket()
    carrier = carrying(tmp_path, bucket)
    (tmp_path / "log").write_text("started\n")
    for second in range(1800):
        status = {"phase": "running", "at": second, "elapsed_s": second, "cpu": second % 7}
        (tmp_path / "status.json").write_text(json.dumps(status))
        carrier._look()
        time.at += 1
    written = [key for key in bucket.asked if not key.endswith("/stop")]
    assert written.count("runs/token/0/report.json") <= 31
    assert len(written) - written.count("runs/token/0/report.json") == 1
    # Asked to stop it is told so within seconds all the same.
    assert bucket.asked.count("runs/token/stop") >= 180
    (tmp_path / "end.json").write_text(json.dumps({"why": "finished"}))
    before = len(bucket.asked)
    carrier._look()
    assert bucket.asked[before:].count("runs/token/0/report.json") == 1


paces = st.builds(
    lambda shortest, times: Pace(shortest, shortest * times), st.floats(0.5, 10), st.floats(1, 20)
)


@given(paces | st.sampled_from([WRITES, HEEDS, LOOKS]), st.floats(1, 86400), st.integers(1, 3))
def test_no_age_sees_more_requests_than_the_bill_knows(
    pace: Pace, age_s: float, each_time: int
) -> None:
    """Also where several come at once, and the next waits for as many."""
    at_s, count = 0.0, 0
    while at_s < age_s:
        count += each_time
        at_s += each_time * wait_s(*pace, at_s)
    assert count <= pace.early + float(pace.per_hour) * age_s / 3600
