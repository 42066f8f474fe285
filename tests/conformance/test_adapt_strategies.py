"""Every strategy of adaptive training is held to what all promise."""

from itertools import pairwise
from pathlib import Path

import pytest
from tests.support.trainings import MODELS, Heard, trainings

from mlbroker.broker.backtest.goodput import Library, Setting, default_s, terms_of
from mlbroker.policies.adapt import STRATEGIES
from mlbroker.policies.adapt.interface import WORK_BETWEEN_MOVES, Past, Probe, Run
from mlbroker.policies.adapt.training import play


@pytest.mark.parametrize("name", STRATEGIES)
@pytest.mark.parametrize(("factor", "knows"), [(0.2, True), (None, False), (0.001, True)])
def test_it_probes_nothing_twice_moves_seldom_and_keeps_to_the_ceiling(
    tmp_path: Path, name: str, factor: float | None, knows: bool
) -> None:
    all_of = trainings(tmp_path, MODELS[:2])
    job = all_of[1].scaled(8 * 3600 / default_s(all_of[1]))
    terms = terms_of(job, Setting(deadline_factor=factor), {})
    past = Library(all_of, {}).without(job.name) if knows else Past()
    heard = Heard(name)
    done = play(job, terms, past, heard)
    probed = [wish.machines for _, wish in heard.wishes if isinstance(wish, Probe)]
    assert len(probed) == len(set(probed)) == done.probes
    runs = [(view.epoch, wish.candidate) for view, wish in heard.wishes if isinstance(wish, Run)]
    assert [epoch for epoch, _ in runs] == list(range(len(terms.default_steps)))
    assert all(terms.candidates[one].batch <= terms.most_batch for _, one in runs)
    moved = [0, *(epoch for (_, old), (epoch, new) in pairwise(runs) if new != old)]
    assert len(moved) == done.moves + 1
    steps = terms.default_steps
    for before, after in pairwise(moved):
        assert sum(steps[before:after]) >= WORK_BETWEEN_MOVES * sum(steps) * (1 - 1e-9)
    again = Heard(name)
    assert play(job, terms, past, again) == done
