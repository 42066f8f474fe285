from dataclasses import asdict

import numpy as np
from tests.support.synthetic_tables import synthetic_rows

from mlbroker.broker.backtest.table import understand
from mlbroker.profiles.transfer.fit import fit
from mlbroker.profiles.transfer.history import complete
from mlbroker.profiles.transfer.kernel import Hyper


def test_fit_predicts_held_out_families_better_than_the_defaults() -> None:
    table = understand(synthetic_rows(seed=1, families=6), "t", print)
    past = [job.as_history() for job in table.jobs]
    completed = complete(table.space, past, Hyper())
    found = fit(table.space, past, completed)
    # The truth is smooth and nearly noiseless: what is one machine's own must shrink.
    assert found.own < Hyper().own
    assert found == fit(table.space, past, completed)


def test_one_family_teaches_nothing() -> None:
    table = understand(synthetic_rows(families=1), "t", print)
    past = [job.as_history() for job in table.jobs]
    assert fit(table.space, past, complete(table.space, past, Hyper())) == Hyper()


def test_a_damaged_cache_keeps_defaults() -> None:
    values = {"linear": np.nan, "smooth": -1.0, "own": 0.2, "unknown": 3.0}
    assert Hyper.of(values) == Hyper(own=0.2)
    assert Hyper.of(asdict(Hyper(own=0.3))) == Hyper(own=0.3)
