"""The replay over arrays: the same as the one look by look, and what always runs beside it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.services import days_of_requests

from mlbroker.policies.service.interface import UNBOUNDED, UNITS_PER_USD, Terms
from mlbroker.policies.service.mixed_replay import Group, Trace
from mlbroker.policies.service.none import NoCap
from mlbroker.policies.service.periods import DAY_MS, spans_of
from mlbroker.policies.service.replay import Engine, Row, play

SPANS_MS = st.sampled_from([30_000, 60_000, 600_000, 3_600_000, 61_234])
ROWS = st.lists(
    st.tuples(SPANS_MS, st.floats(0, 30) | st.just(0.0)), min_size=2, max_size=40
).filter(lambda rows: any(rate > 0.01 for _, rate in rows))


def rows_of(told: list[tuple[int, float]]) -> list[Row]:
    rows, at_ms = [], 0
    for span_ms, rate in told:
        rows.append(Row(at_ms, span_ms, rate * span_ms / 1000))
        at_ms += span_ms
    return rows


@given(
    ROWS,
    st.sampled_from([0.7, 1.0, 3.3]),
    st.sampled_from([0, 60_000, 300_000, 123_456]),
    st.sampled_from([0.0, 2.0, 300.0]),
    st.sampled_from([0, 60_000, 300_000]),
    st.sampled_from([0, 300_000, 1_200_000]),
    st.integers(0, 3),
    st.sampled_from([0, 4, UNBOUNDED]),
)
def test_it_is_the_replay_without_a_ceiling(
    told: list[tuple[int, float]],
    rps: float,
    boot_ms: int,
    queue_s: float,
    up_ms: int,
    down_ms: int,
    least: int,
    more: int,
) -> None:
    rows, most = rows_of(told), min(least + more, UNBOUNDED)
    engine = Engine(rps, boot_ms, queue_s, up_ms, down_ms)
    length_ms = sum(row.span_ms for row in rows)
    terms = Terms(10**9, UNITS_PER_USD, spans_of(length_ms, 0), least, most)
    slow = play(rows, engine, terms, NoCap(terms))
    fast = Trace(rows, engine).play(Group(0.0, rps, least, most))
    assert fast.replica_ms * 10**9 == slow.all_spent
    assert fast.served == pytest.approx(slow.served / slow.requests, abs=1e-9)


def test_what_always_runs_is_as_the_fewest_that_an_engine_keeps() -> None:
    trace = Trace(days_of_requests(2), Engine(10.0))
    kept = trace.play(Group(0.0, 10.0, 12, 25))
    beside = trace.play(Group(120.0, 10.0, 0, 13))
    assert beside.served == pytest.approx(kept.served)
    assert beside.replica_ms + 12 * trace.length_ms == kept.replica_ms


def test_days_add_up_to_the_trace() -> None:
    trace, group = Trace(days_of_requests(3), Engine(10.0)), Group(50.0, 10.0, 0, 30)
    days = trace.replica_ms_by_day(group)
    assert len(days) == 3
    assert sum(days) == trace.play(group).replica_ms
    half = Trace(days_of_requests(1)[:72], Engine(10.0))
    assert half.length_ms < DAY_MS
    assert half.replica_ms_by_day(group) == []
