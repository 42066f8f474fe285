"""Runs under one cap: what they have spent and may yet come to cost never exceeds it."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from mlbroker.broker.errors import RefusedError
from mlbroker.broker.ledger import STUDY, Share, State, open_ledger

NOW = datetime(2026, 11, 1, tzinfo=UTC)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 60), st.booleans()), min_size=1, max_size=8))
def test_spent_and_open_worst_cases_stay_within_the_budget(asked: list[tuple[int, bool]]) -> None:
    with TemporaryDirectory() as folder:
        ledger = open_ledger(Path(folder))
        lane = Share(STUDY, "s", "id", "cap", Decimal(100))
        admitted = 0
        for number, (usd, ends) in enumerate(asked):
            body = {"job": "s.tune", "user": "u", "cap_usd": str(usd), "reserved_usd": str(usd)}
            fits = usd <= lane.left_usd(ledger.runs())
            try:
                ledger.reserve(NOW, f"r{number}", {**body, **lane.body()})
            except RefusedError:
                assert not fits
                continue
            assert fits
            admitted += 1
            if ends:
                end = {"outcome": "stopped", "spent_usd": "0", "exit_code": None, "detail": None}
                ledger.append(NOW, f"r{number}", State.SETTLED, end)
            assert sum(run.held_usd for run in ledger.runs()) <= 100
        assert len(ledger.runs()) == admitted
        other = Share(STUDY, "s", "id", "another", Decimal(60))
        ledger.reserve(NOW, "other", {**body, **other.body()})
        assert ledger.verify() is None
