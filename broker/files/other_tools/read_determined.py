"""Determined's experiment configurations.

Keys: schemas/expconf/v0/experiment.json and resources.json (determined-ai/determined), and
https://docs.determined.ai/latest/reference/training/experiment-config-reference.html
"""

import re
import shlex

from mlbroker.broker.errors import InputError
from mlbroker.broker.files.other_tools.carrying import (
    NO_CONTAINER,
    NO_VOLUMES,
    Carrying,
    Keys,
    leave_the_rest,
)
from mlbroker.broker.files.values import parse_count
from mlbroker.broker.files.yaml_strict import parse

_HARNESS = "Determined's own harness hands it to the job: name it in the command"
_NO_MASTER = "there is no Determined master here"
_CHECKPOINT = "say `checkpoint: {path: ckpt/, every: 10m}` under `broker:`"
_WHY = {
    **dict.fromkeys(("hyperparameters", "data", "reproducibility"), _HARNESS),
    **dict.fromkeys(("workspace", "project", "resource_pool", "priority"), _NO_MASTER),
    **dict.fromkeys(("checkpoint_storage", "checkpoint_policy"), _CHECKPOINT),
    **dict.fromkeys(("description", "labels"), "runs have a name alone"),
    "min_checkpoint_period": _CHECKPOINT,
    "max_restarts": "a job that fails is not repeated",
    "bind_mounts": NO_VOLUMES,
    "image": NO_CONTAINER,
    "shm_size": "on a plain machine it is half of the memory",
}
_TRIAL = re.compile(r"[\w.]*:[\w.]+")


def read(text: str, carrying: Carrying) -> None:
    """The experiment's one trial."""
    documents = parse(text, carrying.source)
    if len(documents) > 1:
        raise carrying.fail(documents[1].line, "holds several experiments", "keep one")
    keys = Keys(documents[0], "", carrying.source)
    if name := keys.text("name") or keys.text("description"):
        carrying.job_name(keys.line("name"), name)
    carrying.workdir = "."  # the model's folder is beside the file, or it
    _entrypoint(keys, carrying)
    _environment(keys, carrying)
    _slots(keys, carrying)
    _searcher(keys, carrying)
    leave_the_rest(keys, carrying, _WHY)


def _entrypoint(keys: Keys, carrying: Carrying) -> None:
    node, line = keys.node("entrypoint"), keys.line("entrypoint")
    words = keys.texts("entrypoint")
    command = shlex.join(words) if node is not None and node.items else " ".join(words)
    if not command.strip():
        keys.fail("entrypoint", "is missing", "it is the command, or the class of a trial")
    if _TRIAL.fullmatch(command):
        why = "it is a class that only Determined's harness runs: write `run`"
        carrying.leave(line, f"entrypoint: {command}", why)
        return
    carrying.command = command
    if "determined.launch" in command:
        why = "it starts the job within Determined alone: torchrun and the like do it here"
        carrying.leave(line, "determined.launch", why)


def _environment(keys: Keys, carrying: Carrying) -> None:
    environment = keys.section("environment")
    node = environment.node("environment_variables") if environment is not None else None
    if environment is None or node is None:
        return
    lists = [(environment, "environment_variables")]
    if node.fields is not None:  # for each kind of slot
        kinds = environment.section("environment_variables")
        assert kinds is not None
        lists = [(kinds, kind) for kind in kinds if kind in ("cuda", "gpu")]
        lists = lists or [(kinds, kind) for kind in kinds][:1]
    for section, key in lists:
        for text in section.texts(key):
            name, equals, value = text.partition("=")
            carrying.variable(section.line(key), name, value if equals else None)


def _slots(keys: Keys, carrying: Carrying) -> None:
    resources = keys.section("resources") or keys.empty("resources")
    key = "slots_per_trial" if resources.node("slots_per_trial") is not None else "slots"
    slots = (
        1
        if resources.node(key) is None
        else resources.parsed(
            key,
            resources.text(key) or "",
            lambda text: 0 if text == "0" else parse_count(text, 10_000),
        )
    )
    line = resources.line(key)
    if slots == 0:
        return
    each = slots if slots <= 8 else next(size for size in (8, 4, 2, 1) if slots % size == 0)
    carrying.nodes = slots // each
    if carrying.nodes > 1:
        carrying.say(line, f"{slots} slots are {carrying.nodes} machines of {each} GPUs")
    carrying.accelerators(line, "slots_per_trial", [], each)


def _searcher(keys: Keys, carrying: Carrying) -> None:
    """One trial of it; how long that is, as far as it can be told in steps."""
    searcher = keys.section("searcher")
    if searcher is None:
        return
    name = searcher.text("name") or "single"
    if name != "single":
        trials = searcher.text("max_trials") or "several"
        why = f"the job is one of its {trials} trials"
        carrying.leave(searcher.line("name"), f"searcher: {name}", why)
    line = searcher.line("max_length")
    node = searcher.node("max_length")
    if node is None:
        return
    lengths = searcher.section("max_length") if node.fields is not None else None
    unit = next(iter(lengths), "") if lengths is not None else "batches"
    section, key = (searcher, "max_length") if lengths is None else (lengths, unit)
    count = section.value(key, parse_count) or 0
    work = _work(unit, count, keys)
    if work is None:
        carrying.leave(line, f"max_length: {count} {unit}", "how many steps these are is not said")
    else:
        carrying.broker["work"] = work
        carrying.say(line, f"max_length: {count} {unit}, a batch counted as a step")


def _work(unit: str, count: int, keys: Keys) -> dict[str, int] | None:
    if unit == "batches":
        return {"steps": count}
    batch = _batch_size(keys)
    if batch is None:
        return None
    if unit == "records":
        return {"steps": max(count // batch, 1)}
    records = keys.value("records_per_epoch", parse_count)
    if unit != "epochs" or records is None:
        return None
    return {"epochs": count, "steps_per_epoch": max(records // batch, 1)}


def _batch_size(keys: Keys) -> int | None:
    """`global_batch_size`, be it `64` or `{type: const, val: 64}`; the key itself is left."""
    found = keys.peek("hyperparameters", "global_batch_size")
    if found is not None and found.fields is not None:
        found = found.fields.get("val", (0, None))[1]
    try:
        return None if found is None else parse_count(found.text or "")
    except InputError:
        return None
