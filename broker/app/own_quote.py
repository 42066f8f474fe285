"""What is expected of a job on a machine of the user's own that was named, and not planned."""

from dataclasses import replace
from datetime import datetime
from pathlib import Path

from mlbroker.broker.app.sources import with_nodes
from mlbroker.broker.evidence.hardware import hardware, this_machine
from mlbroker.broker.guest.machine import describe
from mlbroker.broker.prices.price_book import open_book
from mlbroker.broker.runs.order import LOCAL, LaunchOption, Predicted
from mlbroker.policies.constraints import Constraints
from mlbroker.policies.pace import Pace, UnknownPace
from mlbroker.policies.planner.book import with_hardware, with_hint
from mlbroker.policies.quote import Quote
from mlbroker.policies.quoting import make_quote
from mlbroker.pricing.offer import Hardware, Market, Offer
from mlbroker.pricing.region import Region
from mlbroker.profiles.estimators import measured, predict
from mlbroker.profiles.job import Data
from mlbroker.profiles.prediction import Evidence, Prediction, Target


def own_quote(
    option: LaunchOption, evidence: Evidence, state: Path, nodes: Path | None, now: datetime
) -> tuple[LaunchOption, Quote]:
    """The quote of such a machine, feasible or not, and the option with what it predicts."""
    # What moving the job's data costs is in no bill of such a run.
    evidence = evidence._replace(job=replace(evidence.job, data=Data()))
    constraints = Constraints.of(evidence.job, evidence, {}, now)
    prediction = _prediction(option, evidence, state, nodes)
    pace = (
        UnknownPace(constraints, None, option.cloud)
        if prediction is None
        else Pace(constraints, prediction, option.cloud, bool(option.gpu))
    )
    offer = Offer(
        option.cloud,
        option.region,
        option.instance_type,
        Market.ON_DEMAND,
        option.price_per_hour_usd,
        now.date(),
        "the user's own machine",
    )
    quote = make_quote(constraints, None, pace, offer, Region(option.cloud, option.region), 0)
    predicted = quote.command_s and Predicted(*quote.command_s, quote.evidence)
    return replace(option, predicted=predicted), quote


def _prediction(
    option: LaunchOption, evidence: Evidence, state: Path, nodes: Path | None
) -> Prediction | None:
    """Measurements on this very machine; else what others say of one such as it is."""
    if not evidence.measurements and evidence.job.takes is None:
        return None
    names = [option.instance_type] + [this_machine()] * (option.cloud == LOCAL)
    unseen = Hardware(0.0, 0.0, "")
    here = [Target(option.cloud, name, unseen, option.nodes) for name in names]
    known = [found for found in measured.estimate(evidence, here) if found is not None]
    if known:
        return known[0]
    book = with_nodes(open_book(state, None), state, nodes)
    kinds = (kind for _, _, kind in book.types() if kind.cloud == option.cloud)
    own = {kind.name: kind.hardware for kind in kinds}
    machine = own.get(option.instance_type) or hardware(describe(0.0))
    target = Target(option.cloud, names[-1], machine, option.nodes)
    [found] = predict(with_hardware(book, with_hint(book, evidence)), [target])
    return found
