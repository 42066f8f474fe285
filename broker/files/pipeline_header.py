"""The first document of a pipeline's file: its name, and the limits of the whole."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from mlbroker.broker.errors import InputError
from mlbroker.broker.files.job_broker import WHOLE, read_broker
from mlbroker.broker.files.values import parse_job_name
from mlbroker.broker.files.yaml_fields import Fields, nearest_hint, note
from mlbroker.broker.files.yaml_strict import Node, quoted
from mlbroker.profiles.job import Deadline, Objective

# What SkyPilot's header of a group of jobs may hold beside the name; no job has any of it.
_GROUP = ("execution", "primary_tasks", "termination_delay", "inter_connection")
_EXECUTIONS = ("serial", "parallel")


@dataclass(frozen=True, slots=True)
class Header:
    """What holds for the whole. `parallel`: stages wait for none but those that they name.

    `not_run` are what a run would have to do for it and cannot; `lines` and `values` as of a job
    file.
    """

    name: str | None = None
    deadline: Deadline | None = None
    confidence: float = 0.9
    budget_usd: Decimal | None = None
    objective: Objective = Objective()
    runs_per_month: int | None = None
    parallel: bool = False
    has_limits: bool = False
    not_run: tuple[str, ...] = ()
    lines: Mapping[str, int] = field(default_factory=dict)
    values: Mapping[str, str] = field(default_factory=dict)


def is_header(document: Node) -> bool:
    """Whether a document names a whole, as in SkyPilot: nothing in it is of a job."""
    keys = set(document.fields or ())
    return bool(keys) and keys <= {"name", "broker", *_GROUP}


def read_header(document: Node, source: str) -> Header:
    """The header; InputError for a key of the broker block that is of stages."""
    fields = Fields(document, "", source)
    block = fields.section("broker")
    lines: dict[str, int] = {}
    values: dict[str, str] = {}
    note(document, "", lines, values)
    given: dict[str, Any] = {}
    if block is not None:
        for key in block:
            if key not in WHOLE:
                known = nearest_hint(key, WHOLE, "the header has {names}; the rest is of stages")
                block.fail(key[:60], "does not hold for a whole pipeline", known)
        given = read_broker(block)
    return Header(
        name=fields.value("name", parse_job_name),
        parallel=fields.value("execution", _execution) == "parallel",
        has_limits=block is not None,
        not_run=tuple(f"{key}: is of SkyPilot's groups of jobs" for key in fields if key in _GROUP),
        lines=lines,
        values=values,
        **given,
    )


def refuse_limits_of_the_whole(block: Fields, *, first: bool) -> None:
    """A stage has no deadline and no budget of its own: the pipeline has, in its header."""
    for key in block:
        if key in WHOLE and block.node(key) is not None:
            hint = "write `name:` and `broker:` into a document of their own before the stages"
            what = "holds for the whole pipeline and stands in its header, which has no run"
            block.fail(key, what if first else f"{what}, not in a stage", hint)


def refuse_group_keys(fields: Fields) -> None:
    """What is of a header stands in one: this document has a job's keys too."""
    for key in fields:
        if key in _GROUP:
            keys = ", ".join(other for other in fields if other not in ("name", "broker", *_GROUP))
            hint = f"take {keys[:60]} out of it, into a document of its own"
            fields.fail(key, "is of a pipeline's header, which describes no job", hint)


def _execution(text: str) -> str:
    if text not in _EXECUTIONS:
        hint = nearest_hint(text, _EXECUTIONS, "write {names}")
        raise InputError(f"unknown way {quoted(text)}", hint=hint)
    return text
