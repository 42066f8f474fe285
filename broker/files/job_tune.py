"""The `tune:` section of a job file's `broker:` block: a study of many trials."""

import math
import re
from collections.abc import Iterable

from mlbroker.broker.errors import InputError
from mlbroker.broker.files.env_flags import parse_own_variable
from mlbroker.broker.files.progress_regex import usable_regex
from mlbroker.broker.files.values import matching, parse_count
from mlbroker.broker.files.yaml_fields import Fields, nearest_hint
from mlbroker.broker.files.yaml_strict import Node, quoted
from mlbroker.profiles.search_space import Choice, Range, Space, Study

KNOWN = ("metric", "regex", "goal", "space", "resource", "trials", "parallel", "start_from")
MOST_VARIABLES = 50
MOST_VALUES = 1000
MOST_STEPS = 1_000_000
MOST_TRIALS = 100_000
MOST_LANES = 1000
MOST_STUDIES = 20
_NUMBER = re.compile(r"[+-]?(\d{1,15}(\.\d{0,15})?|\.\d{1,15})([eE][+-]?\d{1,3})?", re.ASCII)
_WHOLE = re.compile(r"[+-]?\d{1,15}", re.ASCII)
_EXAMPLES = "[0, 0.5], {log: [1e-5, 1e-1]} or [sgd, adam]"
_REGEX = r"for example 'epoch (?P<at>\d+).* val_acc=(?P<metric>[0-9.]+)'"
_WORD = r"[A-Za-z0-9_][A-Za-z0-9_./-]{0,99}"
_metric = matching(_WORD, "the name of a metric", "for example val_acc")
_resource = matching(_WORD, "the name of a resource", "for example epoch")
_study = matching(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", "the name of a study")


def read_study(block: Fields, key: str) -> Study:
    """The section at `key`; InputError names the line and the key of what is wrong."""
    tune = block.section(key)
    assert tune is not None  # null values were left out by the caller
    tune.refuse_unknown(KNOWN)
    metric = tune.required("metric", _metric, "for example `metric: val_acc`")
    goal = tune.required("goal", _goal, "maximize or minimize")
    resource = tune.section("resource")
    if resource is None:
        tune.fail("resource", "is missing", "{name: epoch, max: 50}")
    resource.refuse_unknown(("name", "max"))
    name = resource.value("name", _resource) or "epoch"
    most = resource.required("max", lambda text: parse_count(text, MOST_STEPS), "{max: 50}")
    return Study(
        metric,
        goal == "maximize",
        _space(tune),
        name,
        most,
        tune.value("trials", lambda text: parse_count(text, MOST_TRIALS)),
        tune.value("parallel", _lanes),
        _start_from(tune),
        tune.value("regex", _regex),
    )


def refuse_unnumbered(block: Fields, study: Study) -> None:
    """A trial that goes on from a checkpoint does not count from one: its lines must say where."""
    tune = block.section("tune")
    assert tune is not None
    if study.regex is not None and "at" not in re.compile(study.regex).groupindex:
        what = "names no step, which a job with a checkpoint must, as it goes on in the middle"
        tune.fail("regex", what, _REGEX)


def refuse_clash(block: Fields, study: Study, envs: Iterable[str], secrets: Iterable[str]) -> None:
    """A variable has one value: of the study, of the job, or of the user's environment."""
    tune = block.section("tune")
    space = tune.section("space") if tune is not None else None
    assert space is not None
    for name in study.space:
        for what, names in (("secrets", secrets), ("envs", envs)):
            if name in names:
                space.fail(name, f"is among the {what} too", "give it in one place only")


def _regex(text: str) -> str:
    groups = re.compile(usable_regex(text, "the metric", _REGEX)).groupindex
    if list(groups) == ["at"] and re.compile(text).groups == 1:
        raise InputError("has no group for the metric", hint=_REGEX)
    return text


def _goal(text: str) -> str:
    known = ("maximize", "minimize")
    if text not in known:
        raise InputError(f"unknown goal {quoted(text)}", hint=nearest_hint(text, known))
    return text


def _lanes(text: str) -> int | None:
    return None if text == "auto" else parse_count(text, MOST_LANES)


def _start_from(tune: Fields) -> tuple[str, ...]:
    node = tune.node("start_from")
    if node is None:
        return ()
    items = [node] if node.text is not None else node.items
    if not items or len(items) > MOST_STUDIES or any(item.text is None for item in items):
        tune.fail("start_from", f"must be a list of 1 to {MOST_STUDIES} studies", "[bert-ft]")
    return tuple(tune.parsed("start_from", item.text or "", _study) for item in items)


def _space(tune: Fields) -> Space:
    space = tune.section("space")
    if space is None or not list(space):
        tune.fail("space", "names no variable", f"{{LR: {{log: [1e-5, 1e-1]}}}}; {_EXAMPLES}")
    names = list(space)
    if len(names) > MOST_VARIABLES:
        tune.fail("space", f"more than {MOST_VARIABLES} variables")
    for name in names:
        space.parsed(name[:60], name, parse_own_variable)
    return {name: _part(space, name) for name in names}


def _part(space: Fields, name: str) -> Range | Choice:
    """Two numbers are a range, of integers if both are written as such; all else are values."""
    node = space.node(name)
    if node is None:
        space.fail(name, "has no values", _EXAMPLES)
    if node.fields is None:
        texts = _texts(space, name, node)
        if len(texts) == 2 and all(_NUMBER.fullmatch(text) for text in texts):
            return _range(space, name, texts, log=False)
        return _choice(space, name, texts)
    inner = space.section(name)
    assert inner is not None
    inner.refuse_unknown(("log", "values"))
    given = [key for key in ("log", "values") if inner.node(key) is not None]
    if len(given) != 1:
        space.fail(name, "must have either log or values", _EXAMPLES)
    key = given[0]
    inside = inner.node(key)
    assert inside is not None
    texts = _texts(inner, key, inside)
    return _range(inner, key, texts, log=True) if key == "log" else _choice(inner, key, texts)


def _texts(fields: Fields, key: str, node: Node) -> list[str]:
    texts = [item.text or "" for item in node.items or () if item.text is not None]
    if not texts or len(texts) != len(node.items or ()):
        fields.fail(key, f"must be a list of values, not {node.kind}", _EXAMPLES)
    return texts


def _range(fields: Fields, key: str, texts: list[str], *, log: bool) -> Range:
    if len(texts) != 2 or not all(_NUMBER.fullmatch(text) for text in texts):
        fields.fail(key, "must be two numbers, the lower and the upper end", "[1e-5, 1e-1]")
    low, high = (float(text) for text in texts)
    if not low < high < math.inf:
        fields.fail(key, f"{texts[0]} is not below {texts[1]}", f"[{texts[1]}, {texts[0]}]")
    if log and low <= 0:
        fields.fail(key, f"a logarithmic range begins above zero, not at {texts[0]}")
    return Range(low, high, log, all(_WHOLE.fullmatch(text) for text in texts))


def _choice(fields: Fields, key: str, texts: list[str]) -> Choice:
    if len(texts) > MOST_VALUES:
        fields.fail(key, f"more than {MOST_VALUES} values")
    for text in texts:
        if not text.isprintable():
            fields.fail(key, f"{quoted(text)} holds control characters")
        if texts.count(text) > 1:
            fields.fail(key, f"{quoted(text)} is there twice")
    return Choice(tuple(texts))
