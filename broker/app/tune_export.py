"""A study for others: its trials as a table, as an Optuna storage, and its best as a job file."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from mlbroker.broker.app.listener import Listener
from mlbroker.broker.app.sources import job_of
from mlbroker.broker.errors import InputError
from mlbroker.broker.files.yaml_strict import Node, parse, read_text
from mlbroker.broker.files.yaml_writer import yaml_of
from mlbroker.broker.tuning.record import StudyFolder, TrialRecord
from mlbroker.broker.tuning.searchers.tpe import distributions, load_optuna
from mlbroker.policies.tuning.budget import best_trial
from mlbroker.policies.tuning.interface import FAILED
from mlbroker.profiles.search_space import as_text

TABLE = ("trial", "state", "reached", "metric", "seconds", "failed")


def table(folder: StudyFolder) -> tuple[list[str], Iterator[dict[str, object]]]:
    """Columns and rows, a trial each, in the order in which they began.

    `metric` is the best so far, empty where there is none; variables are columns `env.NAME`.
    """
    found = folder.load()
    names = list(found.study.space)

    def rows() -> Iterator[dict[str, object]]:
        for number, each in enumerate(found.trials):
            score = each.trial.score
            told = None if score == FAILED else found.study.as_told(score)
            values = (number, state_of(each, found.study.most), _reached(each), told)
            fixed = dict(zip(TABLE, (*values, round(each.seconds, 3), each.failed), strict=True))
            yield {**fixed, **{f"env.{name}": each.point[name] for name in names}}

    return [*TABLE, *(f"env.{name}" for name in names)], rows()


def state_of(each: TrialRecord, most: int) -> str:
    """`failed`, `whole`, `paused`, or `begun` where nothing was told yet."""
    if each.failed:
        return "failed"
    if each.trial.reached >= most:
        return "whole"
    return "paused" if each.trial.reached else "begun"


def _reached(each: TrialRecord) -> int:
    return max(each.metrics, default=0) if each.failed else each.trial.reached


def write_optuna(folder: StudyFolder, path: Path, force: bool) -> None:
    """An Optuna storage at `path`: a SQLite file with one study of the same name.

    A whole trial is COMPLETE, a paused one PRUNED, a failed one FAIL, each with what it told.
    """
    optuna = load_optuna()
    if path.exists() and not force:
        raise InputError("exists already", where=str(path), hint="--force overwrites it")
    found = folder.load()
    study = found.study
    parts = distributions(optuna, study.space)
    states = optuna.trial.TrialState
    of = {"failed": states.FAIL, "whole": states.COMPLETE, "paused": states.PRUNED}
    trials = []
    for each in found.trials:
        score, state = each.trial.score, state_of(each, study.most)
        if state == "begun":
            continue
        if score == FAILED:
            state = "failed"
        trials.append(
            optuna.trial.create_trial(
                state=of[state],
                value=None if state == "failed" else study.as_told(score),
                params=dict(each.point),
                distributions=parts,
                intermediate_values=each.metrics,
                user_attrs={"seconds": round(each.seconds, 3), "failed": each.failed},
            )
        )
    try:
        with tempfile.TemporaryDirectory(dir=path.absolute().parent) as beside:
            part = Path(beside, "study.db")
            storage = optuna.storages.RDBStorage(f"sqlite:///{part}")
            made = optuna.create_study(
                storage=storage,
                study_name=folder.path.name,
                direction="maximize" if study.more_is_better else "minimize",
            )
            made.set_user_attr("metric", study.metric)
            made.add_trials(trials)
            storage.engine.dispose()
            os.replace(part, path)
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", where=str(path)) from None


def best_job_text(folder: StudyFolder, path: Path, listener: Listener) -> str:
    """The study's job file with the winning variables under `envs:`, and without the study.

    Everything else stands as it did, but for comments. `path` is where it is to be: beside the
    job file, as paths in it are relative to its folder.
    """
    terms, found = folder.terms(), folder.load()
    number = best_trial([each.trial for each in found.trials])
    if number is None:
        raise InputError(f"no trial of study {folder.path.name} has told its metric yet")
    source = Path(terms["job_path"])
    if path.absolute().parent.resolve() != source.parent.resolve():
        hint = f"Paths in it are relative to its folder: {source.parent / path.name}"
        raise InputError("must be beside the job file", where=str(path), hint=hint)
    if job_of(source, listener, to_run=True).fingerprint() != terms["fingerprint"]:
        listener.warn(f"{source} is not what study {folder.path.name} began with")
    (document,) = parse(read_text(source), str(source))
    assert document.fields is not None
    _put(document, "envs", {name: as_text(v) for name, v in found.trials[number].point.items()})
    _, broker = document.fields["broker"]
    assert broker.fields is not None
    del broker.fields["tune"]
    if not broker.fields:
        del document.fields["broker"]
    return f"# Trial {number} of study {folder.path.name}.\n{yaml_of(document)}"


def _put(document: Node, section: str, values: dict[str, str]) -> None:
    """Values under a section, which is made where it is not there."""
    assert document.fields is not None
    _, node = document.fields.get(section, (0, Node(0)))
    if node.fields is None:
        node = Node(0)
        node.fields = {}
    assert node.fields is not None
    for name, text in values.items():
        value = Node(0)
        value.text = text
        node.fields[name] = (0, value)
    document.fields[section] = (0, node)
