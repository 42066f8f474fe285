"""Whether a cluster can be launched on: its controller is asked, and sbatch tries without a job."""

from collections.abc import Iterator
from datetime import datetime
from functools import partial
from pathlib import Path

from mlbroker.broker.clouds.checks import Check, probe, tried
from mlbroker.broker.clouds.slurm import calls
from mlbroker.broker.clouds.slurm.request import minutes_of, options_of, script_of
from mlbroker.broker.errors import MlbrokerError
from mlbroker.broker.files.node_slurm import SlurmPlace
from mlbroker.broker.files.nodes import Node, load_nodes, nodes_file
from mlbroker.broker.home import home

_NODES_HINT = "Describe one in the nodes file, with `slurm: {partition: …}`: docs/slurm.md."


def checks(regions: tuple[str, ...], now: datetime) -> Iterator[Check]:
    """Everything a run needs, in the order in which a run would need it."""
    try:
        site = calls.site()
    except MlbrokerError as error:
        hint = error.hint or "Is SLURM_CONF set, and the controller up? `scontrol ping` tells."
        yield Check("controller", False, error.what, hint)
        return
    yield Check("controller", True, f"{site.cluster}, Slurm {site.version}, as {calls.user()}")
    yield from _limits(site)
    yield _accounting(site)
    yield _enforced(site)
    if site.stores_environment:
        hint = "Jobs with secrets are refused there: let them read a file of your own."
        yield Check("secrets", False, "AccountingStoreFlags=job_env keeps them for good", hint)
    else:
        yield Check("secrets", True, "travel in the job's environment, which Slurm forgets")
    path = nodes_file(home())
    try:
        nodes = [n for n in (load_nodes(path) if path else []) if n.slurm is not None]
    except MlbrokerError as error:
        yield Check("nodes file", False, error.what, error.hint)
        return
    if not nodes:
        yield Check("nodes file", False, f"{path or 'there is none'}: no slurm", _NODES_HINT)
    for node in nodes:
        assert node.slurm is not None
        attempt = partial(_launch, site, node, node.slurm, now)
        yield tried(f"{node.name}: launch", attempt, "See `sinfo` for what there is.")


def policies(account: str | None, region: str) -> str:
    """The least rights that do, in words."""
    return (
        "A user who may submit jobs to the partition, see his own, and cancel them; and a folder\n"
        "that this machine and the nodes share. No operator's right is needed."
    )


def _limits(site: calls.Site) -> Iterator[Check]:
    endless = [p.name for p in site.partitions if p.over_s is None]
    for partition in site.partitions:
        if partition.over_s is not None:
            late = f"jobs end {site.slack_s([partition.name]):.0f} s after theirs at the latest"
            yield Check(f"{partition.name}: time limits", True, f"{late}, which caps reckon with")
    if endless:
        hint = "Runs there are refused: OverTimeLimit=UNLIMITED lets no cap hold."
        yield Check("time limits", False, f"do not end jobs in {', '.join(endless)}", hint)


def _accounting(site: calls.Site) -> Check:
    if site.accounting:
        return Check("accounting", True, "tells of jobs that the controller has forgotten")
    says = "none: what squeue forgets after MinJobAge is told by the guest's own files"
    return Check("accounting", True, says)


def _enforced(site: calls.Site) -> Check:
    """Beside mlbroker's caps: where a site wants Slurm to keep GrpTRESMins as well."""
    name, enforces = "GrpTRESMins", site.enforces or "none"
    if "safe" in enforces:
        return Check(name, True, "no job starts that could pass it (safe is enforced)")
    says = f"AccountingStorageEnforce={enforces}: Slurm itself keeps no such limit exactly"
    return Check(name, None, says, "Only if Slurm is to keep one too: enforce `safe`.")


def _launch(site: calls.Site, node: Node, place: SlurmPlace, now: datetime) -> str:
    intent = probe("slurm", "on-prem", node.name, now)
    partition = site.partition(place.partition)
    minutes = min(10, minutes_of(intent, partition))
    box = place.folder or home()
    options = options_of(intent.token, node, place, minutes, Path(box))
    calls.submit(["--test-only", *options], script_of(Path(box), "guest.pyz"), {})
    name = place.partition or (partition.name if partition else "the default partition")
    return f"{name} would take it"
