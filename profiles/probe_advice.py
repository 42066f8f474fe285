"""Whether to measure a job on one more machine, on which, what that costs and what it brings."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from mlbroker.profiles.estimators.transfer import Configuration, build
from mlbroker.profiles.prediction import Evidence, Target

# A measured machine that is not on offer can be neither probed nor chosen.
NOT_ON_OFFER = 1e12
# A probe is ended early once its machine would cost so many times the best choice.
HOPELESS = 2.0


class Offered(NamedTuple):
    """A machine that can be had, at the price of all its nodes."""

    target: Target
    price_per_hour_usd: float
    setup_s: float


class Advice(NamedTuple):
    """What to do next: probe the offer at `place`, or commit to it.

    `costs_usd` and `saves_usd` are of the probe; when the advice is to commit, of the best probe
    that is not worth its price. A probe whose step takes longer than `hopeless_step_s` may be
    ended.
    """

    place: int | None
    probe: bool
    costs_usd: float
    saves_usd: float
    hopeless_step_s: float | None


def advise(
    evidence: Evidence,
    offers: Sequence[Offered],
    steps: int,
    deadline_s: float | None = None,
    without: Collection[int] = (),
    choice_usd: float | None = None,
) -> Advice:
    """The next probe that is worth its price, or that none is. Pure, and equal for equal evidence.

    `without` are offers that cannot be had at the moment; they are neither probed nor chosen.
    `choice_usd` is what the run costs as it would be chosen now: no probe can save more than that.
    """
    asked = [(offer.target.plain(), offer.price_per_hour_usd, offer.setup_s) for offer in offers]
    limits = (steps, deadline_s, tuple(sorted(without)), choice_usd)
    found = evidence.recall(
        ("next probe", tuple(asked), limits),
        lambda: _worked_out(evidence, offers, steps, deadline_s, without, choice_usd),
    )
    return Advice(*found)


def _worked_out(
    evidence: Evidence,
    offers: Sequence[Offered],
    steps: int,
    deadline_s: float | None,
    without: Collection[int],
    choice_usd: float | None,
) -> Advice:
    import numpy as np

    from mlbroker.profiles import value_of_information as next_probe

    first: dict[Configuration, int] = {}
    for place, offer in enumerate(offers):
        key = Configuration(offer.target.instance_type, offer.target.nodes, offer.target.hardware)
        if place in without:
            continue
        known = first.get(key)
        if known is None or offer.price_per_hour_usd < offers[known].price_per_hour_usd:
            first[key] = place
    if not first:
        return Advice(None, False, 0.0, 0.0, None)
    chosen = list(first.values())

    def terms(size: int) -> next_probe.Terms:
        """Of the offers, and of so many machines in all."""
        price = np.full(size, NOT_ON_OFFER)
        setup_s = np.zeros(size)
        price[: len(chosen)] = [offers[place].price_per_hour_usd for place in chosen]
        setup_s[: len(chosen)] = [offers[place].setup_s for place in chosen]
        longest_s = evidence.job.profile.max_time_s
        return next_probe.Terms(np.maximum(price, 1e-9), setup_s, deadline_s, longest_s)

    model = build(
        evidence,
        list(first),
        steps,
        lambda prior, hyper: next_probe.begin(prior, hyper, terms(len(prior.mean))),
    )
    prices = terms(len(model.places))
    step = next_probe.next_step(model.belief, prices)
    if step.candidate is None or step.candidate >= len(chosen):
        return Advice(None, False, 0.0, 0.0, None)
    place = chosen[step.candidate]
    saves_usd = step.saves_usd if choice_usd is None else min(step.saves_usd, choice_usd)
    probe = step.probe and saves_usd > step.costs_usd
    hopeless = None
    losses = next_probe.losses(model.belief, prices, model.belief.failure)
    if step.probe and not probe:
        place = chosen[int(losses[: len(chosen)].argmin())]
    elif probe and model.known:
        offer, least = offers[place], float(losses.min())
        run_s = HOPELESS * least / max(offer.price_per_hour_usd, 1e-9) * 3600 - offer.setup_s
        hopeless = run_s / steps if run_s > 0 else None
    return Advice(place, probe, step.costs_usd, saves_usd, hopeless)
