"""The game of adaptive training: what is paid, what is seen, and what was best."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.support.trainings import Heard, trainings

from mlbroker.broker.backtest.goodput import Library, Setting, default_s, terms_of
from mlbroker.policies.adapt.interface import Past, Probe, Run, Terms, View
from mlbroker.policies.adapt.training import Training, clairvoyant, play

HURRIED = Setting(job_hours=8, deadline_factor=0.2)


class Told:
    """Says what it was told to, one wish after the other, and then the last again."""

    def __init__(self, *wishes: Probe | Run) -> None:
        self.wishes = list(wishes)
        self.views: list[View] = []

    def decide(self, view: View) -> Probe | Run:
        self.views.append(view)
        return self.wishes.pop(0) if len(self.wishes) > 1 else self.wishes[0]


@pytest.fixture
def all_of(tmp_path: Path) -> list[Training]:
    return [one.scaled(8 * 3600 / default_s(one)) for one in trainings(tmp_path)]


def cheapest(terms: Terms, gpus: int) -> int:
    """The default batch on the cheapest machines with so many GPUs."""
    fits = [
        number
        for number, one in enumerate(terms.candidates)
        if terms.machines[one.machines].layout.gpus == gpus and one.batch == terms.default_batch
    ]
    return min(fits, key=lambda n: terms.machines[terms.candidates[n].machines].price_per_hour_usd)


def test_probes_runs_and_moves_are_paid(all_of: list[Training]) -> None:
    job = all_of[0]
    terms = terms_of(job, Setting(), {})
    one, four = cheapest(terms, 1), cheapest(terms, 4)
    probed = terms.candidates[four].machines
    told = Told(Probe(probed, (16,)), Run(one), Run(one), Run(four))
    done = play(job, terms, Past(), told)
    times = [job.times[terms.candidates[n].machines] for n in (one, four)]
    prices = [each.machines.price_per_hour_usd / 3600 for each in times]
    steps = job.steps_at(job.default_batch)
    spans = (
        60 + steps[:2].sum() * times[0].at(64),
        60 + job.restart_s + steps[2:].sum() * times[1].at(16),
    )
    assert done.took_s == pytest.approx(sum(spans))
    assert done.cost_usd == pytest.approx(float(np.dot(spans, prices)))
    work_s = steps.sum() * times[1].at(16)
    assert done.probing_usd == pytest.approx(prices[1] * (60 + max(60, 0.02 * work_s)))
    assert (done.moves, done.probes, done.last) == (1, 1, four)


def test_a_time_is_seen_after_its_probe_and_noise_after_its_epoch(all_of: list[Training]) -> None:
    job = all_of[0]
    terms = terms_of(job, Setting(), {})
    one, four = cheapest(terms, 1), cheapest(terms, 4)
    told = Told(Probe(terms.candidates[four].machines, (16, 32)), Run(one))
    play(job, terms, Past(), told)
    seen = [[timed.at for timed in view.measured] for view in told.views[:3]]
    layout = terms.machines[terms.candidates[four].machines].layout
    assert seen[0] == []
    assert [(at.layout, at.local_batch) for at in seen[1]] == [(layout, 16), (layout, 32)]
    assert seen[2] == [*seen[1], terms.step(one)]
    assert [len(view.noise) for view in told.views[:4]] == [0, 0, 1, 2]
    assert told.views[3].noise[1].noise == pytest.approx(float(job.noise[0, 1]), rel=1e-3)


@pytest.mark.parametrize("name", ["auto", "adaptdl"])
def test_what_was_not_seen_changes_nothing(all_of: list[Training], name: str) -> None:
    lots = np.random.default_rng(3)
    library = Library(all_of, {})
    job = all_of[1]
    terms, past = terms_of(job, HURRIED, {}), library.without(job.name)
    heard = Heard(name)
    play(job, terms, past, heard)
    seen = {timed.at.layout for timed in heard.wishes[-1][0].measured}
    assert 0 < len(seen) < len(job.times)
    shuffled = tuple(
        times
        if times.machines.layout in seen
        else replace(times, step_s=lots.permutation(times.step_s) * lots.uniform(0.1, 10))
        for times in job.times
    )
    # And from the middle on nothing converges as it did.
    half = len(terms.default_steps) // 2
    steps, noise = job.steps.copy(), job.noise.copy()
    steps[:, half:] *= lots.uniform(0.5, 2, steps[:, half:].shape)
    noise[:, half:] = lots.permutation(noise[:, half:].ravel()).reshape(noise[:, half:].shape)
    again = Heard(name)
    play(replace(job, times=shuffled, steps=steps, noise=noise), terms, past, again)

    def before_the_middle(one: Heard) -> list[Probe | Run]:
        return [wish for view, wish in one.wishes if view.epoch <= half]

    assert before_the_middle(again) == before_the_middle(heard)


def test_the_clairvoyant_is_the_best_of_all_courses_with_one_move(all_of: list[Training]) -> None:
    job = all_of[2]
    whole = terms_of(job, HURRIED, {})
    terms = replace(whole, candidates=whole.candidates[::9])
    best = clairvoyant(job, terms)
    assert terms.deadline_s is not None
    assert best.took_s <= terms.deadline_s
    least = np.inf
    epochs = len(terms.default_steps)
    for first in range(len(terms.candidates)):
        for then in range(len(terms.candidates)):
            for switch in range(1, epochs):
                wishes = [Run(first)] * switch + [Run(then)]
                done = play(job, terms, Past(), Told(*wishes))
                if done.took_s <= terms.deadline_s:
                    least = min(least, done.cost_usd)
    assert best.cost_usd == pytest.approx(least)


def test_where_nothing_is_in_time_the_fastest_course_is_the_measure(
    all_of: list[Training],
) -> None:
    terms = replace(terms_of(all_of[0], HURRIED, {}), deadline_s=1.0)
    best = clairvoyant(all_of[0], terms)
    assert best.took_s > 1.0
    for number in range(len(terms.candidates)):
        assert best.took_s <= play(all_of[0], terms, Past(), Told(Run(number))).took_s + 1e-6


def test_a_job_is_never_its_own_past(all_of: list[Training]) -> None:
    library = Library(all_of, {})
    changed = [all_of[0].scaled(3.0), *all_of[1:]]
    assert len(library.without(all_of[0].name).steps) == len(all_of) - 1
    before, after = library.without("small"), Library(changed, {}).without("small")
    assert [fitted.gamma for fitted in before.steps] == [fitted.gamma for fitted in after.steps]
