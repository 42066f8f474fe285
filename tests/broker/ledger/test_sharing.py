"""Runs under one cap: what they have spent and may yet come to cost never exceeds it."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlbroker.broker.errors import InputError, RefusedError
from mlbroker.broker.ledger import PIPELINE, STUDY, Share, State, open_ledger
from mlbroker.broker.ledger.sharing import SHARE

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


def test_of_one_part_no_two_runs_are_open(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path)
    stage = Share(PIPELINE, "nightly", "pl-1", "cap", Decimal(100), "train")
    body = {"job": "train", "user": "u", "cap_usd": "1", "reserved_usd": "1", **stage.body()}
    ledger.reserve(NOW, "r1", body)
    with pytest.raises(InputError, match="train of the pipeline nightly is worked on by run r1"):
        ledger.reserve(NOW, "r2", {**body, **stage._replace(cap="new").body()})
    other = {**body, **stage._replace(part="evaluate").body()}
    ledger.reserve(NOW, "r3", other)
    end = {"outcome": "stopped", "spent_usd": "0", "exit_code": None, "detail": None}
    ledger.append(NOW, "r1", State.SETTLED, end)
    ledger.reserve(NOW, "r4", body)
    with pytest.raises(RefusedError, match="left of the pipeline's budget, 98 USD"):
        ledger.reserve(NOW, "r5", {**other, "reserved_usd": "99", SHARE: stage._replace(
            part="x").body()[SHARE]})  # fmt: skip
