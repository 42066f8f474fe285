"""The `batch:` section of a job file's `broker:` block, and what may be done about it, `adapt:`."""

import math
import re
from collections.abc import Iterable

from mlbroker.broker.errors import InputError
from mlbroker.broker.files.env_flags import parse_own_variable
from mlbroker.broker.files.values import parse_count, parse_option
from mlbroker.broker.files.yaml_fields import Fields, nearest_hint
from mlbroker.broker.files.yaml_strict import quoted
from mlbroker.profiles.batch import Adapt, Batch, LearningRate, LrRule
from mlbroker.profiles.job import Job

KNOWN = ("size", "max", "micro", "env", "lr")
VARIABLES = ("total", "micro", "accumulation")
_RATE = re.compile(r"\d{1,15}(\.\d{0,15})?([eE][+-]?\d{1,3})?|\.\d{1,15}([eE][+-]?\d{1,3})?")
_EXAMPLE = "{size: 128, max: 1024, env: {total: BATCH}}"


def read_batch(block: Fields, key: str) -> Batch:
    """The section at `key`; InputError names the line and the key of what is wrong."""
    batch = block.section(key)
    assert batch is not None  # null values were left out by the caller
    batch.refuse_unknown(KNOWN)
    size = batch.required("size", parse_count, _EXAMPLE)
    ceiling = "a larger batch can cost quality: say the largest you accept, for example "
    most = batch.required("max", parse_count, ceiling + _EXAMPLE)
    if most < size:
        batch.fail("max", f"{most} is below the size, {size}", f"at least {size}")
    names = _names(batch)
    read = Batch(
        size,
        most,
        batch.value("micro", parse_count),
        names.get("total"),
        names.get("micro"),
        names.get("accumulation"),
        _rate(batch),
    )
    used = list(names.values()) + ([read.rate.env] if read.rate is not None else [])
    for name in used:
        if used.count(name) > 1:
            batch.fail("env", f"{name} is given two meanings", "a variable has one value")
    if (read.micro_env is None) != (read.accumulation_env is None) and read.total_env is None:
        batch.fail("env", "micro and accumulation go together", "{micro: MICRO, accumulation: ACC}")
    return read


def parse_adapt(text: str) -> Adapt:
    """`off`, `advise`, `batch` or `move`."""
    names = [adapt.value for adapt in Adapt]
    if text not in names:
        raise InputError(f"unknown way {quoted(text)}", hint=nearest_hint(text, names))
    return Adapt(text)


def check_batch(
    block: Fields,
    own: dict[str, object],
    nodes: int,
    envs: Iterable[str],
    secrets: Iterable[str],
) -> None:
    """What the section says together with the rest of the file."""
    batch, adapt = own.get("batch"), Adapt(str(own.get("adapt", Adapt.ADVISE)))
    batch = batch if isinstance(batch, Batch) else None
    if (why_not := _why_not(adapt, batch, saves=own.get("checkpoint") is not None)) is not None:
        block.fail("adapt", *why_not)
    if batch is None:
        return
    section = block.section("batch")
    assert section is not None
    if batch.size % nodes:
        what = f"{batch.size} is not divisible among {nodes} nodes"
        section.fail("size", what, f"for example {batch.size - batch.size % nodes or nodes}")
    _refuse_clash(section, batch, envs, secrets)


def adapt_flag(job: Job, text: str | None) -> Adapt | None:
    """`run --adapt`, which the job file has to allow; None where it is not given."""
    adapt = parse_option("--adapt", text, parse_adapt)
    why_not = adapt and _why_not(adapt, job.batch, saves=job.checkpoint is not None)
    if why_not:
        what, hint = why_not
        raise InputError(what, where="--adapt", hint=f"in the job file: {hint}")
    return adapt


def _why_not(adapt: Adapt, batch: Batch | None, *, saves: bool) -> tuple[str, str] | None:
    """Why it may not be, and what to write instead."""
    if adapt not in (Adapt.BATCH, Adapt.MOVE):
        return None
    if batch is None:
        return "nothing says how large the batch may be", f"`batch: {_EXAMPLE}` beside it"
    if not batch.can_be_told:
        hint = "`env: {total: BATCH}` in `batch`, or `adapt: advise`"
        return "the job could not be told another batch", hint
    if not saves:
        what = "another batch begins at a checkpoint, and the job has none"
        return what, "`checkpoint: {path: ckpt/, every: 10m}`"
    return None


def _refuse_clash(
    section: Fields, batch: Batch, envs: Iterable[str], secrets: Iterable[str]
) -> None:
    own = {"env": [batch.total_env, batch.micro_env, batch.accumulation_env]}
    own["lr"] = [batch.rate.env] if batch.rate is not None else []
    for key, names in own.items():
        for what, others in (("secrets", set(secrets)), ("envs", set(envs))):
            for name in names:
                if name is not None and name in others:
                    section.fail(key, f"{name} is among the {what} too", "give it in one place")


def _names(batch: Fields) -> dict[str, str]:
    section = batch.section("env")
    if section is None:
        return {}
    section.refuse_unknown(VARIABLES)
    found = {key: section.value(key, parse_own_variable) for key in VARIABLES}
    return {key: name for key, name in found.items() if name is not None}


def _rate(batch: Fields) -> LearningRate | None:
    section = batch.section("lr")
    if section is None:
        return None
    section.refuse_unknown(("env", "base", "rule"))
    example = "{env: LR, base: 3e-4, rule: sqrt}"
    return LearningRate(
        section.required("env", parse_own_variable, example),
        section.required("base", _learning_rate, example),
        section.required("rule", _rule, "adascale (SGD), sqrt (Adam), linear or none"),
    )


def _rule(text: str) -> LrRule:
    names = [rule.value for rule in LrRule]
    if text not in names:
        raise InputError(f"unknown rule {quoted(text)}", hint=nearest_hint(text, names))
    return LrRule(text)


def _learning_rate(text: str) -> float:
    value = float(text) if _RATE.fullmatch(text) else 0.0
    if not 0 < value < math.inf:
        what = f"{quoted(text)} is not a learning rate"
        raise InputError(what, hint="a number above zero, for example 3e-4")
    return value
