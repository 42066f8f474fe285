"""dstack's tasks.

Keys and their meaning: TaskConfiguration of src/dstack/_internal/core/models/configurations.py,
ProfileParams of profiles.py and ResourcesSpec of resources.py beside it (dstackai/dstack), which
https://dstack.ai/docs/reference/dstack.yml/task is generated from.
"""

import math
import re
from typing import NamedTuple

from mlbroker.broker.errors import InputError
from mlbroker.broker.files.other_tools.carrying import (
    NO_CONTAINER,
    NO_VOLUMES,
    Carrying,
    Keys,
    leave_the_rest,
    plain,
)
from mlbroker.broker.files.values import parse_count, parse_money_usd, parse_number
from mlbroker.broker.files.yaml_strict import Node, parse, quoted
from mlbroker.pricing.gpu_names import GPU_MODELS
from mlbroker.pricing.vendors import VENDORS

_WHY = {
    **dict.fromkeys(("image", "docker", "privileged", "entrypoint", "user"), NO_CONTAINER),
    **dict.fromkeys(("registry_auth", "working_dir", "nvcc"), NO_CONTAINER),
    **dict.fromkeys(("retry", "retry_policy"), "a job that is taken away goes on elsewhere anyway"),
    **dict.fromkeys(("idle_duration", "termination_policy"), "a machine ends with its job"),
    **dict.fromkeys(("creation_policy", "fleets"), "each run has machines of its own"),
    "python": "the machine's own python3 is there: make an environment in `setup`",
    "shell": "bash runs the commands",
    "volumes": NO_VOLUMES,
    "utilization_policy": "`mlbroker run --on-idle stop` ends a job that does nothing",
    "reservation": "mlbroker rents on demand or on spot",
    "setup": "dstack does not run it for tasks since 0.18.31",
    "shm_size": "on a plain machine it is half of the memory",
    "compute_capability": "name the model",
    "total_memory": "name the model and its number",
}
# dstack's own, where a task says nothing: DEFAULT_CPU_COUNT and DEFAULT_MEMORY_SIZE.
_CPU, _MEMORY = "2..", "8GB.."
_STAND_INS = {
    "DSTACK_NODE_RANK": '"${MLBROKER_NODE_RANK:-0}"',
    "DSTACK_NODES_NUM": '"${MLBROKER_NODES:-1}"',
    "DSTACK_MASTER_NODE_IP": '"${MLBROKER_MASTER_ADDR:-127.0.0.1}"',
    "DSTACK_NODES_IPS": '"${MLBROKER_NODE_IPS:-127.0.0.1}"',
    "DSTACK_RUN_NAME": '"$MLBROKER_JOB"',
}
_ARCHITECTURES = {"x86": "x86_64", "arm": "arm64"}
_VENDORS = ("nvidia", "amd", "google", "tpu", "intel", "tenstorrent")


class Range(NamedTuple):
    """`4`, `4..`, `..8` or `4..8` of something; None where the side is open."""

    least: str | None
    most: str | None


def read(text: str, carrying: Carrying) -> None:
    """The one task of the file."""
    documents = parse(text, carrying.source)
    if len(documents) > 1:
        where = ", ".join(str(document.line) for document in documents[:5])
        raise carrying.fail(documents[1].line, f"holds several tasks (lines {where})", "keep one")
    keys = Keys(documents[0], "", carrying.source)
    kind = keys.text("type")
    if kind != "task":
        keys.fail("type", f"{quoted(kind or '')} ends only when it is stopped", "a task is a job")
    if name := keys.text("name"):
        carrying.job_name(keys.line("name"), name)
    carrying.nodes = keys.value("nodes", lambda text: parse_count(text, 10_000)) or 1
    _commands(keys, carrying)
    _environment(keys, carrying)
    _files(keys, carrying)
    gpus = _resources(keys, carrying)
    _profile(keys, carrying)
    leave_the_rest(keys, carrying, _WHY)
    stand_ins = _STAND_INS | {"DSTACK_GPUS_PER_NODE": str(gpus)}
    stand_ins["DSTACK_GPUS_NUM"] = str(gpus * carrying.nodes)
    for name in dict.fromkeys(re.findall(r"\bDSTACK_\w+", carrying.command or "")):
        if name not in stand_ins and name not in carrying.envs:
            carrying.leave(keys.line("commands"), f"${name}", "only dstack sets it")
    carrying.stand_ins(stand_ins)


def _commands(keys: Keys, carrying: Carrying) -> None:
    commands = [text.strip() for text in keys.texts("commands")]
    if not commands:
        carrying.leave(
            keys.line("image"), "the image's own command", "nobody here knows it: write `run`"
        )
        return
    # As _join_shell_commands of core/.../configurators/base.py joins them.
    joined = [f"{{ {text} }}" if text.endswith("&") else text for text in commands]
    carrying.command = " &&\n".join(joined)


def _environment(keys: Keys, carrying: Carrying) -> None:
    node = keys.node("env")
    if node is None:
        return
    if node.fields is not None:
        section = keys.section("env")
        assert section is not None
        given = [(section.line(name), name, section.text(name)) for name in section]
    else:
        lines = [item.line for item in node.items or [node]]
        pairs = (text.partition("=") for text in keys.texts("env"))
        given = [
            (line, name, value if equals else None)
            for line, (name, equals, value) in zip(lines, pairs, strict=True)
        ]
    for line, name, value in given:
        if value is not None and "${{" in value:
            carrying.leave(line, f"env.{name}: {quoted(value)}", "it is read from your environment")
            value = None
        carrying.variable(line, name, value)


def _files(keys: Keys, carrying: Carrying) -> None:
    """Folders of the user's own that dstack takes along: one of them is the work directory."""
    found = False
    for key in ("files", "repos"):
        node = keys.node(key)
        for item in (node.items or [node]) if node is not None else ():
            local = _local_folder(item, key, carrying.source)
            if local is not None and not found:
                carrying.workdir, found = local, True
            else:
                carrying.leave(item.line, key, "a job has one work directory, of your own files")
    if not found and carrying.command is not None:
        line = keys.line("commands")
        carrying.say(line, "no folder of yours is taken along; `workdir: .` takes this one")


def _local_folder(item: Node, key: str, source: str) -> str | None:
    if item.fields is None:
        text = item.text or ""
        local = None if "://" in text or "@" in text else text.partition(":")[0]
    else:
        local = Keys(item, key, source).text("local_path")
    return local or None


def _range(text: str) -> Range:
    least, dots, most = text.replace(" ", "").partition("..")
    return Range(least or None, most or None) if dots else Range(least, least)


def _range_at(keys: Keys, key: str) -> Range | None:
    """Of `4`, `4..8`, or `{min: 4, max: 8}`."""
    node = keys.node(key)
    if node is None or node.fields is None:
        text = keys.text(key)
        return None if text is None else _range(text)
    section = keys.section(key)
    assert section is not None
    return Range(section.text("min"), section.text("max"))


def _at_least(keys: Keys, key: str, found: Range | None, carrying: Carrying) -> str | None:
    """`4` or `4+` of a range; that there is no upper end is said."""
    if found is None:
        return None
    line, path = keys.line(key), keys.name_of(key)
    if found.least is None:
        carrying.leave(line, f"{path}: ..{found.most}", "there are no upper ends")
        return None
    number = keys.parsed(key, found.least, parse_gb)
    if found.least == found.most:
        return number
    if found.most is not None:
        carrying.say(line, f"{path}: {number} or more, as there are no upper ends")
    return f"{number}+"


def parse_gb(text: str) -> str:
    """A plain number, or GB (a TB has 1024 of them)."""
    found = re.fullmatch(r"([0-9.]+)(mb|gb|tb|)", text, re.IGNORECASE)
    if found is None:
        raise InputError(f"{quoted(text)} is no amount", hint="write 4, 4.., 16GB or 16GB..64GB")
    factor = {"mb": 1 / 1024, "tb": 1024}.get(found[2].lower(), 1)
    return plain(float(parse_number(found[1])) * factor)


def _resources(keys: Keys, carrying: Carrying) -> int:
    """The needs of each machine; how many GPUs it has."""
    needs, named = keys.section("resources"), keys.node("instance_types") is not None
    if needs is None:
        needs = keys.empty("resources")
    apart = needs.peek("cpu", "count") or needs.peek("cpu", "arch")
    cpus = needs.section("cpu") if apart is not None else None
    if cpus is not None:  # {arch: arm, count: 4..}
        written = f"{cpus.text('arch') or ''}:{cpus.text('count') or _CPU}"
        cpu: Range | None = _range(written.lstrip(":"))
    else:
        cpu = _range_at(needs, "cpu")
    if cpu is not None and ":" in (cpu.least or ""):
        arch, _, least = (cpu.least or "").partition(":")
        if arch not in _ARCHITECTURES:
            needs.fail("cpu", f"{quoted(arch)} is no architecture", "write x86 or arm")
        carrying.resources["arch"] = _ARCHITECTURES[arch]
        cpu = _range(least) if cpu.least == cpu.most else cpu._replace(least=least or None)
    memory = _range_at(needs, "memory")
    if (cpu is None or memory is None) and not named:
        usual = " and ".join(([] if cpu else [_CPU]) + ([] if memory else [_MEMORY]))
        carrying.say(keys.line("resources"), f"{usual}, as dstack takes where a task says nothing")
        cpu, memory = cpu or _range(_CPU), memory or _range(_MEMORY)
    disk_node, disk, disk_key = needs.node("disk"), needs, "disk"
    if disk_node is not None and disk_node.fields is not None and "size" in disk_node.fields:
        disk, disk_key = needs.section("disk") or needs, "size"
    found = {
        "cpus": _at_least(needs, "cpu", cpu, carrying),
        "memory": _at_least(needs, "memory", memory, carrying),
        "disk_size": _at_least(disk, disk_key, _range_at(disk, disk_key), carrying),
    }
    if found["disk_size"]:
        found["disk_size"] = str(math.ceil(float(found["disk_size"].rstrip("+"))))
    carrying.resources.update({key: value for key, value in found.items() if value})
    return _gpus(needs, carrying)


def _gpus(needs: Keys, carrying: Carrying) -> int:
    """What `gpu` asks for: its names, memory and count, in a word or apart; how many there are."""
    node, line = needs.node("gpu"), needs.line("gpu")
    if node is None:
        return 0
    names: list[str] = []
    vendor = ""
    memory: Range | None = None
    count = Range("1", "1")
    if node.fields is not None:
        gpu = needs.section("gpu")
        assert gpu is not None
        names = gpu.texts("name")
        memory = _range_at(gpu, "memory")
        count = _range_at(gpu, "count") or count
        vendor = gpu.text("vendor") or ""
    else:
        for token in (needs.text("gpu") or "").replace(" ", "").split(":"):
            if token.lower() in _VENDORS:
                vendor = token
            elif token[:1].isalpha():
                names = token.split(",")
            elif re.search("[a-z]", token, re.IGNORECASE):
                memory = _range(token)
            else:
                count = _range(token)
    if vendor.lower() not in ("", "nvidia") and not names:
        carrying.leave(line, f"the vendor {vendor}", "--gpu MODEL names a model")
    number = needs.parsed("gpu", count.least or "0", lambda text: int(parse_number(text)))
    if count.least != count.most:
        carrying.say(line, f"{needs.name_of('gpu')}: {number or 'none'} of them, the least")
    if number == 0:
        return 0
    by_memory = _at_least(needs, "gpu", memory, carrying)
    models = [model for name in names for model in _models(name, memory)]
    if by_memory is not None and not models:
        whole, plus = by_memory.rstrip("+"), "+" * by_memory.endswith("+")
        carrying.accelerators(line, "gpu", names, number, f"{whole}GB{plus}")
    else:
        carrying.accelerators(line, "gpu", models, number)
    return number


def _models(name: str, memory: Range | None) -> list[str]:
    """The book's models that dstack means by a name: A100 is that of 40 GB and that of 80."""
    sizes = [
        model for model in GPU_MODELS if re.fullmatch(rf"{re.escape(name)}-\d+GB", model, re.I)
    ]
    fitting = [model for model in sizes if memory is None or _holds(memory, model)]
    return fitting or [name]


def _holds(memory: Range, model: str) -> bool:
    size = float(model.rpartition("-")[2].removesuffix("GB"))
    least = float(parse_gb(memory.least)) if memory.least else 0
    return least <= size <= (float(parse_gb(memory.most)) if memory.most else math.inf)


def _profile(keys: Keys, carrying: Carrying) -> None:
    """Where the machine may be, on which market, at what price, and for how long."""
    policy = keys.text("spot_policy") or "on-demand"
    if policy not in ("spot", "on-demand", "auto"):
        keys.fail("spot_policy", f"{quoted(policy)} is none", "spot, on-demand or auto")
    if "spot_policy" not in keys:
        carrying.say(keys.line(), "on demand, as dstack takes where a task says nothing")
    if policy != "auto":
        carrying.resources["use_spot"] = policy == "spot"
    limit = keys.text("max_duration")
    if limit is not None:
        line, shown = keys.line("max_duration"), f"max_duration: {limit}"
        if limit.lower() in ("off", "true", "false"):
            carrying.leave(line, shown, "that is no deadline")
        else:
            carrying.deadline(line, shown, keys.parsed("max_duration", limit, parse_seconds))
    price = keys.value("max_price", parse_money_usd)
    if price is not None:
        carrying.resources["max_hourly_cost"] = plain(price)
    clouds = [cloud for cloud in keys.texts("backends") if cloud in VENDORS]
    for cloud in keys.texts("backends"):
        if cloud not in VENDORS:
            why = "mlbroker sells no machines there"
            carrying.leave(keys.line("backends"), f"backends: {cloud}", why)
    places = {
        "cloud": clouds,
        "region": keys.texts("regions"),
        "zone": keys.texts("availability_zones"),
        "instance_type": keys.texts("instance_types"),
    }
    # A type, a zone and a region each tell their place: of several, the narrowest is kept.
    narrowest = next((key for key in reversed(places) if places[key]), None)
    if narrowest is None:
        return
    common = {key: found[0] for key, found in places.items() if len(found) == 1}
    for key, found in places.items():
        if len(found) > 1 and key != narrowest:
            what = {"cloud": "backends", "region": "regions", "zone": "availability_zones"}[key]
            carrying.leave(keys.line(what), what, f"each {narrowest.replace('_', ' ')} has its own")
    if len(places[narrowest]) > 1:
        carrying.resources["any_of"] = [{narrowest: name} for name in places[narrowest]]
    carrying.resources.update(common)


def parse_seconds(text: str) -> int:
    """dstack's durations: seconds, or a number with s, m, h, d or w."""
    found = re.fullmatch(r"(\d{1,9})\s*([smhdw]?)", text.strip())
    if found is None or int(found[1]) == 0:
        raise InputError(f"{quoted(text)} is no duration", hint="write 90m, 6h or 1d")
    return int(found[1]) * {"m": 60, "h": 3600, "d": 86400, "w": 604800}.get(found[2], 1)
