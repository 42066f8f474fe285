"""What is expected of a job on a machine of the user's own that was named, and not planned."""

from dataclasses import replace
from datetime import datetime
from pathlib import Path

from mlbroker.broker.app.sources import stated_at, with_nodes
from mlbroker.broker.errors import NothingFeasible
from mlbroker.broker.evidence.hardware import hardware, this_machine
from mlbroker.broker.files.nodes import load_nodes, nodes_file
from mlbroker.broker.guest.machine import describe
from mlbroker.broker.prices.own_nodes import OFFICE_PUE
from mlbroker.broker.prices.price_book import has_index, open_book
from mlbroker.broker.runs.order import LaunchOption, Predicted
from mlbroker.policies.constraints import Constraints
from mlbroker.policies.pace import Pace, UnknownPace
from mlbroker.policies.planner.book import Book, with_hardware, with_hint
from mlbroker.policies.quote import Quote
from mlbroker.policies.quoting import make_quote
from mlbroker.pricing.offer import Hardware, Market, Offer
from mlbroker.pricing.power import AVERAGE_CPU, Supply, power_w
from mlbroker.pricing.region import Region
from mlbroker.pricing.vendors import LOCAL
from mlbroker.profiles.estimators import measured, predict
from mlbroker.profiles.job import Data, Job
from mlbroker.profiles.prediction import Evidence, Prediction, Target


def refuse_several(job: Job, path: Path) -> None:
    """NothingFeasible for a job of several machines: a run has one of the user's own."""
    if job.num_nodes > 1:
        raise NothingFeasible(
            f"the job asks for {job.num_nodes} machines, and a run has one of yours",
            where=stated_at(path, "num_nodes"),
            hint="Ask one for as many GPUs or CPUs: on a node that is named (--on) a run takes "
            "several places. Or set up a cloud: mlbroker doctor",
        )


def own_quote(
    option: LaunchOption, evidence: Evidence, state: Path, nodes: Path | None, now: datetime
) -> tuple[LaunchOption, Quote]:
    """The quote of such a machine, feasible or not, and the option with what it predicts."""
    measured_here = _measured(option, evidence)
    others = bool(evidence.measurements) or evidence.job.takes is not None
    # A price book takes seconds and room to build: a run that needs none goes without.
    book = None
    if has_index(state) or (others and measured_here is None):
        book = with_nodes(open_book(state, None), state, nodes)
    machine = _together(_machine(option, book, nodes_file(state, nodes)), option.places)
    # What moving the job's data costs is in no bill of such a run.
    evidence = evidence._replace(job=replace(evidence.job, data=Data()))
    constraints = Constraints.of(evidence.job, evidence, {}, now)
    prediction = measured_here
    if prediction is None and others and book is not None:
        target = Target(option.cloud, measured_names(option)[-1], machine, option.nodes)
        [prediction] = predict(with_hardware(book, with_hint(book, evidence)), [target])
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
    region = Region(option.cloud, option.region, pue=OFFICE_PUE)
    coefficients = AVERAGE_CPU if book is None else book.cpu_power()
    supply = Supply.of(machine, coefficients, region)
    watts = power_w(machine, coefficients, gpu_works=constraints.uses_gpu)
    quote = make_quote(constraints, watts, pace, offer, region, 0)
    predicted = quote.command_s and Predicted(*quote.command_s, quote.evidence)
    return replace(option, predicted=predicted, watts=quote.power_w, supply=supply), quote


def _measured(option: LaunchOption, evidence: Evidence) -> Prediction | None:
    """What measurements on this very machine say; those of one place say nothing of several."""
    if option.places > 1:
        return None
    unseen = Hardware(0.0, 0.0, "")
    here = [Target(option.cloud, name, unseen, option.nodes) for name in measured_names(option)]
    return next((found for found in measured.estimate(evidence, here) if found is not None), None)


def _together(one: Hardware, places: int) -> Hardware:
    """So many places of it, as one machine."""
    return one._replace(
        vcpus=one.vcpus * places,
        memory_gib=one.memory_gib * places,
        gpu_count=one.gpu_count * places,
    )


def measured_names(option: LaunchOption) -> list[str]:
    """What measurements on it are kept under."""
    return [option.instance_type] + [this_machine()] * (option.cloud == LOCAL)


def _machine(option: LaunchOption, book: Book | None, nodes: Path | None) -> Hardware:
    """As the nodes file has it, else as this machine shows itself."""
    kinds = [] if book is None else [kind for _, _, kind in book.types()]
    for kind in kinds:
        if (kind.cloud, kind.name) == (option.cloud, option.instance_type):
            return kind.hardware
    for node in load_nodes(nodes) if nodes else []:
        if node.name == option.instance_type:
            return node.hardware
    here = hardware(describe(0.0))
    known = {kind.hardware.gpu.model: kind.hardware.gpu for kind in kinds if kind.hardware.gpu}
    return here if here.gpu is None else here._replace(gpu=known.get(here.gpu.model, here.gpu))
