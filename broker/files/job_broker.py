"""The `broker:` block of a job file: deadline, budget, work and what to optimise."""

from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any

from mlbroker.broker.errors import InputError
from mlbroker.broker.files.job_batch import parse_adapt, read_batch
from mlbroker.broker.files.job_nlp import read_nlp
from mlbroker.broker.files.job_nodes import parse_node_counts
from mlbroker.broker.files.job_places import parse_place
from mlbroker.broker.files.job_tune import read_study
from mlbroker.broker.files.progress_regex import parse_progress_regex
from mlbroker.broker.files.values import (
    matching,
    parse_confidence,
    parse_count,
    parse_deadline,
    parse_duration_s,
    parse_hours_s,
    parse_job_name,
    parse_money_usd,
    parse_number,
    parse_type,
    parse_value_of_time,
)
from mlbroker.broker.files.yaml_fields import Fields, nearest_hint
from mlbroker.broker.files.yaml_strict import quoted
from mlbroker.profiles.job import (
    Checkpoint,
    Data,
    Objective,
    ObjectiveKind,
    ProfileLimits,
    QueueTerms,
    SpotPolicy,
    StatedTime,
    Work,
)

# Each is looked for at every file that the job leaves.
MOST_OUTPUTS = 100
_WORK = ("steps", "epochs", "steps_per_epoch", "hours", "on")


def read_broker(block: Fields) -> dict[str, Any]:
    """The arguments of `Job` that the block gives; what it leaves out keeps its default."""
    block.refuse_unknown(KNOWN)
    found = {name: read(block, key) for key, (name, read) in _FIELDS.items() if block.node(key)}
    if block.node("work"):
        found["takes"] = _takes(_section(block, "work", _WORK))
    return {name: value for name, value in found.items() if value is not None}


def parse_objective(text: str) -> Objective:
    """`cost`, `time` or `carbon`."""
    names = [kind.value for kind in ObjectiveKind if kind is not ObjectiveKind.WEIGHTED]
    if text not in names:
        hint = nearest_hint(text, names, "write {names}")
        raise InputError(f"unknown objective {quoted(text)}", hint=hint)
    return Objective(ObjectiveKind(text))


def parse_spot_policy(text: str) -> SpotPolicy:
    """`auto`, or one of the policies that it is held against in `mlbroker replay`."""
    names = [policy.value for policy in SpotPolicy]
    if text not in names:
        hint = nearest_hint(text, names, "write {names}")
        raise InputError(f"unknown spot policy {quoted(text)}", hint=hint)
    return SpotPolicy(text)


def _simple(parse: Callable[[str], Any]) -> Callable[[Fields, str], Any]:
    return lambda block, key: block.value(key, parse)


def _work(block: Fields, key: str) -> Work | None:
    work = _section(block, key, _WORK)
    steps = work.value("steps", parse_count)
    epochs = work.value("epochs", parse_count)
    per_epoch = work.value("steps_per_epoch", parse_count)
    if epochs is None and per_epoch is None and (steps is not None or work.node("hours")):
        return None if steps is None else Work(steps)
    if steps is not None or epochs is None or per_epoch is None:
        block.fail(
            key,
            "must be steps, or epochs and steps_per_epoch, or hours and on, or one of both",
            "{steps: 12000}, {epochs: 3, steps_per_epoch: 4000} or {hours: 3, on: g5.xlarge}",
        )
    return Work(epochs * per_epoch, epochs, per_epoch)


def _takes(work: Fields) -> StatedTime | None:
    whole_s, kind = work.value("hours", parse_hours_s), work.value("on", parse_type)
    if whole_s is None and kind is None:
        return None
    if whole_s is None or kind is None:
        missing, given = ("on", "hours") if whole_s else ("hours", "on")
        work.fail(given, f"goes with {missing}", "{hours: 3, on: g5.xlarge}")
    return StatedTime(whole_s, kind)


def _checkpoint(block: Fields, key: str) -> Checkpoint:
    checkpoint = _section(block, key, ("path", "every"))
    path = checkpoint.value("path", _inside)
    every_s = checkpoint.value("every", parse_duration_s)
    if path is None or every_s is None:
        block.fail(key, "needs both path and every", "{path: ckpt/, every: 10m}")
    return Checkpoint(path, every_s)


def _outputs(block: Fields, key: str) -> tuple[str, ...]:
    node = block.node(key)
    items = node.items if node is not None else None
    if not items or len(items) > MOST_OUTPUTS or any(item.text is None for item in items):
        what = f"must be a list of 1 to {MOST_OUTPUTS} paths or patterns"
        block.fail(key, what, "[model.bin, 'runs/**/*.json']")
    return tuple(block.parsed(key, item.text or "", _inside) for item in items)


def _needs(block: Fields, key: str) -> tuple[str, ...]:
    node = block.node(key)
    items = node.items if node is not None else None
    if items is None or any(item.text is None for item in items):
        block.fail(key, "must be a list of names of stages", "[prepare, train], or [] for none")
    names = tuple(block.parsed(key, item.text or "", parse_job_name) for item in items)
    if len(set(names)) < len(names):
        block.fail(key, "names a stage twice")
    return names


def _inside(text: str) -> str:
    path = PurePosixPath(text)
    if (
        not text
        or path.is_absolute()
        or ".." in path.parts
        or text.startswith("~")
        or not text.isprintable()
    ):
        raise InputError(
            f"{quoted(text)} is not a path inside the work directory", hint="for example ckpt/"
        )
    return text


def _profile(block: Fields, key: str) -> ProfileLimits:
    limits = _section(block, key, ("max_cost", "max_time"))
    cost, time_s = (
        limits.value("max_cost", parse_money_usd),
        limits.value("max_time", parse_duration_s),
    )
    default = ProfileLimits()
    return ProfileLimits(cost or default.max_cost_usd, time_s or default.max_time_s)


def _data(block: Fields, key: str) -> Data:
    data = _section(block, key, ("input_gb", "output_gb", "checkpoint_gb", "at"))
    return Data(
        data.value("input_gb", parse_number) or Decimal(0),
        data.value("output_gb", parse_number) or Decimal(0),
        data.value("at", parse_place),
        data.value("checkpoint_gb", parse_number),
    )


def _objective(block: Fields, key: str) -> Objective | None:
    node = block.node(key)
    if node is None or node.fields is None:
        return block.value(key, parse_objective)
    weighted = _section(block, key, ("usd_per_kg_co2e",))
    price = weighted.value("usd_per_kg_co2e", parse_number)
    if price is None:
        block.fail(key, "needs a price of carbon", "{usd_per_kg_co2e: 0.1}")
    return Objective(ObjectiveKind.WEIGHTED, price)


def _queue(block: Fields, key: str) -> QueueTerms:
    terms = _section(block, key, ("team", "value_of_time"))
    return QueueTerms(terms.value("team", _team), terms.value("value_of_time", parse_value_of_time))


def _spot_policy(block: Fields, key: str) -> SpotPolicy | None:
    return _section(block, key, ("policy",)).value("policy", parse_spot_policy)


def _section(block: Fields, key: str, known: tuple[str, ...]) -> Fields:
    section = block.section(key)
    assert section is not None  # null values were left out by the caller
    section.refuse_unknown(known)
    return section


def _runs_per_month(text: str) -> int:
    return parse_count(text, 1_000_000)


_team = matching(r"[^\x00-\x1f\x7f]{1,100}", "a team's name", "one of the policy file's teams")


# Key of the block -> argument of Job, and how it is read.
_FIELDS: Mapping[str, tuple[str, Callable[[Fields, str], Any]]] = {
    "deadline": ("deadline", _simple(parse_deadline)),
    "confidence": ("confidence", _simple(parse_confidence)),
    "budget": ("budget_usd", _simple(parse_money_usd)),
    "work": ("work", _work),
    "checkpoint": ("checkpoint", _checkpoint),
    "outputs": ("outputs", _outputs),
    "needs": ("needs", _needs),
    "profile": ("profile", _profile),
    "data": ("data", _data),
    "objective": ("objective", _objective),
    "runs_per_month": ("runs_per_month", _simple(_runs_per_month)),
    "spot": ("spot_policy", _spot_policy),
    "progress": ("progress", _simple(parse_progress_regex)),
    "queue": ("queue", _queue),
    "tune": ("study", read_study),
    "batch": ("batch", read_batch),
    "nodes": ("node_counts", _simple(parse_node_counts)),
    "adapt": ("adapt", _simple(parse_adapt)),
    "nlp": ("nlp", read_nlp),
}
# `service` is read with the block of the same name that SkyServe has: see job_service.
KNOWN = (*_FIELDS, "service")
# Of a pipeline, these are the whole's, and stand in its header alone.
WHOLE = ("deadline", "confidence", "budget", "objective", "runs_per_month")
