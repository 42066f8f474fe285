"""The user's own machines: what they are, how they are reached and what an hour of them costs.

The file is `--nodes FILE`, else `MLBROKER_NODES`, else `<home>/nodes.yaml`:

    nodes:
      - name: gpu-box
        host: 10.0.0.5              # absent: this very machine
        user: ml
        identity_file: ~/.ssh/id_ed25519
        host_key: ssh-ed25519 AAAA…  # or known_hosts: FILE
        count: 2                    # so many alike, or slots of one machine
        hardware: {vcpus: 32, memory_gib: 128, gpu: L4, gpu_count: 1, gpu_memory_gib: 24}
        price_per_hour_usd: 0.35        # or cost:, from which the hourly price is derived
        cost: {purchase_usd: 9000, amortisation_years: 4, utilisation: 0.5,
               power_w: 600, power_usd_per_kwh: 0.25, pue: 1.3, upkeep_usd_per_year: 400}

With `slurm:` or `kubernetes:` it is a place of an engine that starts jobs when it sees fit: see
node_slurm and clusters.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from mlbroker.broker.errors import InputError
from mlbroker.broker.files.clusters import Cluster, read_cluster
from mlbroker.broker.files.node_cost import DerivedPrice, derive_price
from mlbroker.broker.files.node_slurm import SlurmPlace, slurm_place
from mlbroker.broker.files.values import (
    matching,
    parse_count,
    parse_flag,
    parse_number,
    parse_positive,
    parse_price_usd,
)
from mlbroker.broker.files.yaml_fields import Fields
from mlbroker.broker.files.yaml_strict import quoted, read_text
from mlbroker.broker.home import named_file
from mlbroker.pricing.gpu_names import gpu_model, unsold_model
from mlbroker.pricing.offer import Gpu, Hardware
from mlbroker.pricing.vendors import LOCAL

ON_PREM = "on-prem"  # the region of every node
# What starts jobs when it sees fit, on machines that it knows itself.
ENGINES = ("kubernetes", "slurm")
ENVIRONMENT = "MLBROKER_NODES"
_KEYS = (
    "name",
    "host",
    "port",
    "user",
    "identity_file",
    "host_key",
    "known_hosts",
    "slurm",
    "count",
    "kubernetes",
    "hardware",
    "price_per_hour_usd",
    "cost",
)
_HARDWARE_KEYS = (
    "vcpus",
    "memory_gib",
    "arch",
    "cpu",
    "gpu",
    "gpu_count",
    "gpu_memory_gib",
    "burstable",
    "local_disk_gib",
    "network_gbps",
)
_MOST_NODES = 10_000
_NAME = matching(
    r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", "a name", "letters, digits, dots, dashes; up to 63"
)
# Also keeps a host from being read as an option of ssh.
_HOST = matching(r"[A-Za-z0-9:\[][A-Za-z0-9.:_\[\]%-]{0,252}", "a host name or address")
_USER = matching(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}", "a user name")
_ARCH = matching("x86_64|arm64", "x86_64 or arm64")


@dataclass(frozen=True, slots=True)
class Node:
    """One kind of machine of the user's own. `host` None is the machine mlbroker runs on; with
    `slurm` or `cluster` it is a job's place on a cluster.

    `count` jobs can use it at a time. `how` tells where the hourly price comes from; where it is
    derived, every hour of the calendar costs `fixed_usd_per_hour`, and one in use
    `running_usd_per_hour` more.
    """

    name: str
    hardware: Hardware
    price_per_hour_usd: Decimal
    how: str
    host: str | None = None
    port: int | None = None
    user: str | None = None
    identity_file: Path | None = None
    host_key: str | None = None
    known_hosts: Path | None = None
    count: int = 1
    fixed_usd_per_hour: Decimal | None = None
    running_usd_per_hour: Decimal | None = None
    slurm: SlurmPlace | None = None
    cluster: Cluster | None = None

    @property
    def cloud(self) -> str:
        """The name of the registry entry that launches on it."""
        if self.slurm is not None:
            return "slurm"
        if self.cluster is not None:
            return "kubernetes"
        return LOCAL if self.host is None else "ssh"

    @property
    def here(self) -> bool:
        """Whether it is the machine mlbroker runs on."""
        return self.cloud == LOCAL


def nodes_file(
    home: Path, option: Path | None = None, environ: Mapping[str, str] = os.environ
) -> Path | None:
    """The nodes file in use, None when the user has none. One that was named must exist."""
    return option or named_file(home / "nodes.yaml", ENVIRONMENT, environ)


def load_nodes(path: Path, gpus: Mapping[str, Gpu] | None = None) -> list[Node]:
    """Every node of the file. `gpus` gives data-sheet figures by model for those it names."""
    top = Fields.document(read_text(path), str(path), ("nodes",), "nodes:\n  - name: …")
    if top.node("nodes") is None:
        top.fail("nodes", "is missing")
    nodes: dict[str, Node] = {}
    for fields in top.items("nodes", _MOST_NODES):
        node = _node(fields, path, gpus or {})
        if node.name in nodes:
            fields.fail("name", f"{node.name!r} is taken")
        nodes[node.name] = node
    return list(nodes.values())


def _node(fields: Fields, path: Path, gpus: Mapping[str, Gpu]) -> Node:
    fields.refuse_unknown(_KEYS)
    price = _price(fields)
    host = fields.value("host", _HOST)
    if host is None:
        for only_remote in ("port", "user", "identity_file", "host_key", "known_hosts"):
            if fields.node(only_remote):
                fields.fail(only_remote, "is only for a node with a host")
    slurm, cluster = (_engine(fields, name) for name in ("slurm", "kubernetes"))
    if slurm is not None and cluster is not None:
        fields.fail("slurm", "give either slurm or kubernetes")
    if slurm is not None and host is not None:
        why = "sbatch is called on this machine: run mlbroker where Slurm's commands are"
        fields.fail("host", "is not for a node with slurm", why)
    if cluster is not None and host is not None:
        fields.fail("host", "is not for a place in a cluster, which knows its machines itself")
    if fields.node("host_key") and fields.node("known_hosts"):
        fields.fail("known_hosts", "give either host_key or known_hosts")
    hardware = fields.section("hardware")
    if hardware is None:
        fields.fail("hardware", "is missing", "hardware: {vcpus: 16, memory_gib: 64}")
    return Node(
        name=fields.required("name", _NAME),
        hardware=_hardware(hardware, gpus),
        price_per_hour_usd=price.usd_per_hour,
        how=price.how,
        host=host,
        port=fields.value("port", lambda text: parse_count(text, 65535)),
        user=fields.value("user", _USER),
        identity_file=fields.value("identity_file", lambda text: _path(text, path)),
        host_key=fields.value("host_key", _host_key),
        known_hosts=fields.value("known_hosts", lambda text: _path(text, path)),
        count=fields.value("count", lambda text: parse_count(text, _MOST_NODES)) or 1,
        fixed_usd_per_hour=price.fixed_usd_per_hour,
        running_usd_per_hour=price.running_usd_per_hour,
        slurm=None if slurm is None else slurm_place(slurm, path.absolute().parent),
        cluster=None if cluster is None else read_cluster(cluster, path),
    )


def _price(fields: Fields) -> DerivedPrice:
    stated = fields.value("price_per_hour_usd", parse_price_usd)
    cost = fields.section("cost")
    if (stated is None) == (cost is None):
        fields.fail(
            "price_per_hour_usd",
            "give either price_per_hour_usd or cost",
            "price_per_hour_usd: 0.35, or cost: {purchase_usd: 9000, amortisation_years: 4, …}",
        )
    if stated is not None:
        return DerivedPrice(stated, f"{stated} USD/h, stated in {fields.source}")
    assert cost is not None
    return derive_price(cost)


def _engine(fields: Fields, name: str) -> Fields | None:
    """The block of what schedules the node's jobs."""
    block = fields.section(name)
    if block is None and name in set(fields):
        fields.fail(name, "is empty", f"docs/{name}.md has an example")
    if block is not None and fields.node("count"):
        why = "how many jobs at a time is for the cluster to say"
        fields.fail("count", f"is not for a node with {name}", why)
    return block


def _hardware(fields: Fields, gpus: Mapping[str, Gpu]) -> Hardware:
    fields.refuse_unknown(_HARDWARE_KEYS)
    example = "hardware: {vcpus: 16, memory_gib: 64}"
    vcpus = fields.required("vcpus", _positive, example)
    memory_gib = fields.required("memory_gib", _positive, example)
    gpu = _gpu(fields, gpus)
    return Hardware(
        vcpus=vcpus,
        memory_gib=memory_gib,
        arch=fields.value("arch", _ARCH) or "x86_64",
        cpu=fields.text("cpu"),
        gpu=gpu,
        gpu_count=(fields.value("gpu_count", _positive) or 1.0) if gpu else 0.0,
        burstable=fields.value("burstable", parse_flag) or False,
        local_disk_gib=fields.value("local_disk_gib", _number),
        network_gbps=fields.value("network_gbps", _positive),
    )


def _gpu(fields: Fields, gpus: Mapping[str, Gpu]) -> Gpu | None:
    named = fields.text("gpu")
    # By the names that jobs ask for it.
    model = named and (gpu_model(named) or unsold_model(named) or named)
    if model is None:
        for key in ("gpu_count", "gpu_memory_gib"):
            if fields.node(key):
                fields.fail(key, "needs gpu: MODEL beside it")
        return None
    known = gpus.get(model)
    memory = fields.value("gpu_memory_gib", _positive)
    if known is None and memory is None:
        fields.fail("gpu_memory_gib", f"is needed for {quoted(model)}, which the book lacks")
    if known is None or (memory is not None and memory != known.memory_gib):
        assert memory is not None
        return (known or Gpu(model, memory))._replace(memory_gib=memory)
    return known


def _number(text: str) -> float:
    return float(parse_number(text))


def _positive(text: str) -> float:
    return float(parse_positive(text))


def _host_key(text: str) -> str:
    if not re.fullmatch(r"(ssh|ecdsa|sk)-[a-z0-9@.-]+ [A-Za-z0-9+/=]+( .*)?", text):
        raise InputError(
            "is not a public host key", hint="one line of /etc/ssh/ssh_host_ed25519_key.pub"
        )
    return " ".join(text.split()[:2])


def _path(text: str, nodes_path: Path) -> Path:
    """Relative to the nodes file, so that the file means the same from everywhere."""
    return (nodes_path.absolute().parent / Path(text).expanduser()).absolute()
