"""What guests say: read into values of the right type and size, whatever it was."""

import json
import math
from collections.abc import Callable
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlbroker.broker.clouds.guest_report import (
    ENDS,
    PHASES,
    REPORT_BYTES,
    End,
    Report,
    Status,
    box_of,
    boxes_of,
    document,
    joint_report,
    log_part_offset,
    report_of,
)

KEYS = [
    *(f.name for f in fields(Status)), *(f.name for f in fields(End)),
    *(f.name for f in fields(Report)), "state", "tags", "started_at", "boxes",
]  # fmt: skip
WORDS = st.one_of(
    st.sampled_from([*PHASES, *ENDS, "alive", "over", "none"]),
    st.sampled_from(["2026-11-24T12:00:00+00:00", "2026-11-24T12:00:00"]),
    st.sampled_from(["9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59"]),
    st.text(max_size=20),
)  # fmt: skip
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(10**17, 10**400), st.floats(), WORDS
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(st.sampled_from(KEYS), st.text(max_size=5)), inner, max_size=6),
    ),
    max_leaves=25,
)


def believable(report: Report) -> None:
    for size in (report.log_bytes, report.checkpoint_bytes):
        assert type(size) is int
        assert 0 <= size < 2**63
    for said in (report.status, report.end):
        for field in fields(said) if said is not None else ():
            value = getattr(said, field.name)
            if isinstance(value, float):
                assert math.isfinite(value)
            if isinstance(value, float | int):
                assert value >= 0
            if isinstance(value, str):
                assert value.isprintable()
    assert report.status is None or report.status.phase in {*PHASES, ""}
    assert report.end is None or report.end.why in ENDS
    assert all(name.isprintable() for name in report.unclear)


@given(ANYTHING)
def test_nothing_said_is_an_error_and_all_that_is_taken_is_of_its_type(said: Any) -> None:
    believable(report_of(said))
    believable(joint_report([report_of(said), report_of(None), report_of(said)]))
    seen = box_of(said)
    if seen is not None:
        believable(seen.report)
        assert seen.started_at is None or seen.started_at > datetime(1999, 12, 30, tzinfo=UTC)
        assert all(isinstance(text, str) for pair in seen.tags.items() for text in pair)
    boxes_of(said)


@given(st.one_of(st.binary(max_size=200), ANYTHING.map(lambda said: json.dumps(said).encode())))
def test_bytes_are_read_as_an_object_or_as_none(data: bytes) -> None:
    assert isinstance(document(data), dict)


@pytest.mark.parametrize(
    "data",
    [
        None, b"", b"[" * 200_000, b'{"a":' * 40_000, b"[]", b"7", b"\xff\xfe{",
        b"{" + b" " * REPORT_BYTES + b"}",
        b'{"step": ' + b"9" * 5000 + b"}",
    ],
    ids=["none", "empty", "deep", "deep objects", "list", "number", "no text", "long", "digits"],
)  # fmt: skip
def test_what_is_no_report_is_an_empty_one(data: bytes | None) -> None:
    assert document(data) == {}
    assert report_of(document(data)) == Report()


def test_what_is_understood_is_taken_and_the_rest_is_named() -> None:
    said = document(
        b'{"status": {"phase": "running", "phase": "setup", "step": "7", "steps": 1e400,'
        b' "elapsed_s": 5, "cpu": "\\u001b[2J", "gpu": NaN, "idle_s": -1, "checkpoint_at": [0]},'
        b' "end": {"why": "won"}, "log_bytes": -4, "checkpoint_bytes": 12}'
    )
    report = report_of(said)
    assert report.status == Status("setup", elapsed_s=5.0)
    assert (report.end, report.log_bytes, report.checkpoint_bytes) == (None, 0, 12)
    assert report.unclear == (
        "status.steps", "status.step", "status.cpu", "status.gpu", "status.idle_s",
        "status.checkpoint_at", "end.why", "log_bytes",
    )  # fmt: skip


def test_an_end_has_one_of_our_words_and_no_terminals_codes() -> None:
    detail = "\x1b]0;owned\x07a\u202eb\nc" + "x" * 1000
    told: dict[str, Any] = {"why": "failed", "exit_code": 3, "detail": detail, "elapsed_s": 1.5}
    end = report_of({"end": told}).end
    assert end is not None
    assert (end.why, end.exit_code, end.elapsed_s) == ("failed", 3, 1.5)
    assert end.detail is not None
    assert end.detail.startswith("\\x1b]0;owned\\x07a\\u202eb c")
    assert len(end.detail) <= 300
    for why in (None, "", "another", 7, ["finished"], {"why": "finished"}):
        report = report_of({"end": told | {"why": why}})
        assert (report.end, len(report.unclear)) == (None, 1)


def test_an_answer_without_a_state_is_no_answer() -> None:
    assert box_of({}) is None
    assert box_of({"state": "ALIVE"}) is None
    assert boxes_of({"boxes": []}) is None
    assert boxes_of({"boxes": {"a": {"state": "over"}, "b": 3}}) == {"a": box_of({"state": "over"})}


@pytest.mark.parametrize(
    ("name", "offset"),
    [
        ("000000000000014", 14), ("14", None), ("00000000000001٣", None), ("+00000000000014", None),
        ("", None), ("..", None), ("0000000000000140", None),
    ],
)  # fmt: skip
def test_a_part_of_the_log_is_called_by_its_offset(name: str, offset: int | None) -> None:
    assert log_part_offset(name) == offset


@pytest.mark.parametrize("many", [lambda: "[" * 100_000, lambda: '{"a":' * 100_000])
def test_deep_ones_are_told_from_the_box_too(many: Callable[[], str], tmp_path: Any) -> None:
    from mlbroker.broker.guest import box

    deep = json.dumps({"a": json.loads("[" * 50 + "]" * 50)})
    for text in (many(), deep, "\x00", "[]", '{"a": '):
        (tmp_path / "status.json").write_text(text)
        assert box.read_json(str(tmp_path), "status.json") is None
    (tmp_path / "status.json").write_bytes(b'{"a": "\xff", "b": %s, "c": 5}' % (b"9" * 5000))
    assert box.read_json(str(tmp_path), "status.json") == {"a": "\ufffd", "b": None, "c": 5}
