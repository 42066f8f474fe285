"""Which machines a run may use: this one, a node of the user's own, or the plan's quotes."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from mlbroker.broker.errors import InputError, NothingFeasible
from mlbroker.broker.files.nodes import ENGINES, ON_PREM, Node, load_nodes, nodes_file
from mlbroker.broker.runs.order import LaunchOption, Predicted
from mlbroker.policies.planner.book import Book
from mlbroker.policies.quote import Quote
from mlbroker.pricing.billing import Bill, egress_usd_per_gb, parts_usd_per_gb
from mlbroker.pricing.homeward import Homeward
from mlbroker.pricing.offer import Market
from mlbroker.pricing.power import Supply
from mlbroker.pricing.region import Region
from mlbroker.pricing.vendors import LOCAL
from mlbroker.profiles.job import Job, ResourceOption

_NODES_FILE = "nodes.yaml in the state folder (MLBROKER_HOME)"


def own_machine(
    name: str,
    local_price: Decimal | None,
    nodes: Path | None,
    state: Path,
    say: Callable[[str], None],
    resources: Sequence[ResourceOption] = (),
) -> LaunchOption:
    """`local`, or a node by its name (`ENGINE:NAME` or, of its only one, `ENGINE` does too); its
    price from the flag or from the nodes file.

    Of a node as many places as the job's `resources` take: GPUs, processors and memory are those of
    one place. NothingFeasible where it has too few.

    This machine without either is reckoned at what its like costs elsewhere, and that is told to
    `say`.
    """
    if name == LOCAL and local_price is not None:
        return _candidate(LOCAL, LOCAL, local_price)
    if local_price is not None:
        raise InputError(
            "is the price of this machine", where="--local-price", hint="Use it with --on local."
        )
    path = nodes_file(state, nodes)
    if name == LOCAL and not any(node.here for node in (load_nodes(path) if path else [])):
        return _candidate(LOCAL, LOCAL, _reckoned(state, say))
    node = _node(name, path)
    has_gpu = node.hardware.gpu is not None
    places = _places(node, resources)
    whole = _candidate(node.cloud, node.name, node.price_per_hour_usd * places, has_gpu)
    return replace(whole, places=places)


def _places(node: Node, resources: Sequence[ResourceOption]) -> int:
    asked = [option.requirements.parts_of(node.hardware) for option in resources]
    places = min(asked, default=1)
    if places <= node.count:
        return places
    if node.count == 1 and node.hardware.gpu is None:
        return 1  # who names a whole machine has it as it is
    has, gpu = node.hardware, node.hardware.gpu
    gpus = f", {has.gpu_count * node.count:g} {gpu.model}" if gpu else ""
    raise NothingFeasible(
        f"the job asks for {places} places of {node.name}, which has {node.count}",
        hint=f"At most {has.vcpus * node.count:g} vCPUs, {has.memory_gib * node.count:g} GiB{gpus} "
        f"fit there.",
    )


def _reckoned(state: Path, say: Callable[[str], None]) -> Decimal:
    """A price for this machine that nobody named: a free one would need no cap."""
    from mlbroker.broker.prices.browse import like_this_machine
    from mlbroker.broker.prices.price_book import open_book

    like = like_this_machine(open_book(state))
    hint = f"Give what an hour of it costs: --local-price 0.40, or a node in {_NODES_FILE}."
    if like is None:
        raise InputError("this machine has no price, so no cap can be derived", hint=hint)
    say(
        f"No price is given for this machine: reckoned at {like.price_per_hour_usd.normalize():f}"
        f" USD/h, what {like.instance_type} costs in {like.region}. {hint}"
    )
    return like.price_per_hour_usd


def _candidate(cloud: str, name: str, price: Decimal, gpu: bool | None = None) -> LaunchOption:
    bill = Bill.of(Region(cloud, ON_PREM), price, 1, 0)
    return LaunchOption(cloud, ON_PREM, name, Market.ON_DEMAND.value, bill, gpu=gpu)


def _node(name: str, path: Path | None) -> Node:
    known = load_nodes(path) if path else []
    if name == LOCAL:
        here = [node for node in known if node.here]
        if len(here) == 1:
            return here[0]
        names = ", ".join(node.name for node in here)
        raise InputError(f"several nodes are this machine: {names}", hint="Use --on NAME.")
    for node in known:
        if node.name == name:
            return node
    engine, _, wanted = name.partition(":")
    if engine in ENGINES:
        return _engine_node(engine, wanted, known)
    if path is None:
        raise InputError(
            f"there is no node {name!r}: no nodes file was found",
            where="--on",
            hint=f"Name your machines in {_NODES_FILE}, or give --nodes FILE.",
        )
    raise InputError(
        f"there is no node {name!r} in {path}",
        where="--on",
        hint=f"Known: local, {', '.join(node.name for node in known)}.",
    )


def _engine_node(engine: str, wanted: str, known: Sequence[Node]) -> Node:
    """The place of a cluster by its name or partition; without either, the only one."""
    there = [node for node in known if node.cloud == engine]
    for named in (
        [node for node in there if node.name == wanted or not wanted],
        [node for node in there if node.slurm and node.slurm.partition == wanted],
    ):
        if len(named) == 1:
            return named[0]
        if named:
            names = ", ".join(f"{engine}:{node.name}" for node in named)
            raise InputError(f"several nodes are meant: {names}", where="--on")
    names = ", ".join(node.name for node in there)
    raise InputError(
        f"no node with {engine} is called {wanted!r}" if wanted else f"no node has {engine}:",
        where="--on",
        hint=f"Known: {names}."
        if names
        else f"Describe one in {_NODES_FILE}, with price_per_hour_usd, hardware and `{engine}:`: "
        f"docs/{engine}.md.",
    )


def planned(
    job: Job,
    quotes: Collection[Quote],
    book: Book,
    launchable: Collection[str],
) -> tuple[LaunchOption, ...]:
    """The plan's choice, and behind it those of its runners-up that can be launched."""
    hardware = {(kind.cloud, kind.name): kind.hardware for _, _, kind in book.types()}
    cpu_power = book.cpu_power()
    first = next(iter(quotes))
    if first.cloud not in launchable:
        raise InputError(
            f"the plan's choice is {first.instance_type} on {first.cloud}, where mlbroker cannot "
            f"launch yet",
            hint=f"It can launch on: {', '.join(sorted(launchable))}. "
            "Use --on local or --on NODE, or restrict the plan with --cloud.",
        )
    by_name = {(region.cloud, region.name): region for region in book.regions().values()}

    def option(quote: Quote) -> LaunchOption:
        region = by_name[quote.cloud, quote.region]
        machine = hardware.get((quote.cloud, quote.instance_type))
        found = _of_quote(job, quote, region)
        if machine is None:
            return found
        supply = Supply.of(machine, cpu_power, region)
        return replace(found, gpu=machine.gpu is not None, supply=supply)

    return tuple(option(quote) for quote in quotes if quote.cloud in launchable)


def _of_quote(job: Job, quote: Quote, region: Region) -> LaunchOption:
    option, cost = job.resources[quote.option], quote.cost_usd
    return LaunchOption(
        cloud=quote.cloud,
        region=quote.region,
        instance_type=quote.instance_type,
        market=quote.market.value,
        bill=Bill.of(
            region, quote.price_per_hour_usd, quote.nodes, option.disk_gb, quote.traffic_usd
        ),
        zone=option.zone,
        home=_homeward(job, region),
        watts=quote.power_w,
        expected_usd=None if cost is None else cost.expected,
        carbon_kg=quote.carbon_kgco2e,
        duration_h=None if quote.duration_h is None else quote.duration_h.p50,
        disk_gb=option.disk_gb,
        image_id=option.image_id,
        max_price_per_hour_usd=quote.max_price_per_hour_usd,
        predicted=quote.command_s and Predicted(*quote.command_s, quote.evidence),
        batch_size=quote.batch and quote.batch.size,
        lr_scale=quote.batch and quote.batch.lr_scale,
    )


def _homeward(job: Job, region: Region) -> Homeward | None:
    """None of one's own machines. What goes to the data's region does not come home."""
    usd_per_gb = egress_usd_per_gb(region) + parts_usd_per_gb(region)
    if not usd_per_gb:
        return None
    data = job.data
    outputs = data.output_gb if data.at is None else Decimal(0)
    saved = data.checkpoint_gb if job.checkpoint else None
    return Homeward(usd_per_gb, outputs + (saved or Decimal(0)))


def deadline_at(job: Job, now: datetime) -> str | None:
    """The moment the job should be done by, in UTC."""
    if job.deadline is None:
        return None
    seconds = job.deadline.seconds_from(now)
    return datetime.fromtimestamp(now.timestamp() + seconds, UTC).isoformat()
