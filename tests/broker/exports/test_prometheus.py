"""The books as metrics: read back by a parser that takes nothing but the text format."""

import re
from collections.abc import ItemsView
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from tests.support import spot_ledgers
from tests.support.books_of_runs import BEGAN, attempt, run
from tests.support.cli import mlbroker
from tests.support.spot_ledgers import Try

from mlbroker.broker.exports.prometheus import metrics_text
from mlbroker.broker.ledger import Run, State

_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_SAMPLE = re.compile(rf"({_NAME})(?:\{{(.*)\}})? ([0-9]+(?:\.[0-9]+)?)")
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,|$)')
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def parse(text: str) -> Samples:
    """Strictly: HELP, then TYPE, then samples of that name; no sample twice; a line end last."""
    assert text.endswith("\n")
    found: Samples = {}
    helped = typed = ""
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            helped = line.split(" ")[2]
            assert re.fullmatch(_NAME, helped)
        elif line.startswith("# TYPE "):
            _, _, typed, kind = line.split(" ")
            assert typed == helped
            assert kind in ("gauge", "counter")
            assert (kind == "counter") == typed.endswith("_total")
        else:
            sample = _SAMPLE.fullmatch(line)
            assert sample, line
            assert sample[1] == typed
            key = sample[1], frozenset(_labels(sample[2] or ""))
            assert key not in found
            found[key] = float(sample[3])
    return found


def _labels(text: str) -> ItemsView[str, str]:
    labels: dict[str, str] = {}
    at = 0
    while at < len(text):
        found = _LABEL.match(text, at)
        assert found, text[at:]
        assert found[1] not in labels
        labels[found[1]] = re.sub(r"\\(.)", lambda m: {"n": "\n"}.get(m[1], m[1]), found[2])
        at = found.end()
    return labels.items()


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples[name, frozenset(labels.items())]


def test_runs_by_state_money_by_whom_and_kill_times() -> None:
    here = {"cloud": "aws", "project": "nlp", "user": "ada"}
    settled = run(attempt(), attempt(number=2, cloud="gcp", charged_usd=Decimal("0.25")))
    still = run(
        attempt(ended_at=None, charged_usd=Decimal(0)),
        run_id="open",
        state=State.RUNNING,
        reserved_usd=Decimal("1.75"),
    )
    waiting = run(
        run_id="new", state=State.RESERVED, reserved_usd=Decimal(2), project=None, user="bo"
    )
    samples = parse(metrics_text([settled, still, waiting], 42))
    assert value(samples, "mlbroker_runs", state="settled") == 1
    assert value(samples, "mlbroker_runs", state="running") == 1
    assert value(samples, "mlbroker_runs", state="terminating") == 0
    assert value(samples, "mlbroker_spent_usd_total", **here) == 0.5
    assert value(samples, "mlbroker_spent_usd_total", **here | {"cloud": "gcp"}) == 0.25
    assert value(samples, "mlbroker_reserved_usd", **here) == 1.75
    assert value(samples, "mlbroker_reserved_usd", cloud="aws", project="", user="bo") == 2
    kill = value(samples, "mlbroker_run_kill_timestamp_seconds", run="open", job="bert", **here)
    assert kill == pytest.approx((BEGAN + timedelta(hours=4)).timestamp())
    assert value(samples, "mlbroker_ledger_head_seq") == 42
    kills = [name for name, _ in samples if name == "mlbroker_run_kill_timestamp_seconds"]
    assert len(kills) == 1


@pytest.mark.parametrize(
    "name", ['a"b', "a\\b", "a\nb", 'x"} 1\nevil{a="', "Zoë", "\\n", "a\rb", "\ud800"]
)
def test_no_name_breaks_out_of_its_label(name: str) -> None:
    one = run(attempt(ended_at=None), state=State.RUNNING, job=name, user=name, project=name)
    text = metrics_text([one], 1)
    samples = parse(text)
    assert {key[0].partition("_")[0] for key in samples} == {"mlbroker"}
    users = {dict(labels)["user"] for key, labels in samples if "user" in dict(labels)}
    assert len(users) == 1
    if not {"\r", "\ud800"} & set(name):
        assert users == {name}
    text.encode()


def test_no_runs_are_zeros(tmp_path: Path) -> None:
    samples = parse(metrics_text([], 0))
    assert all(found == 0 for found in samples.values())
    done = mlbroker("metrics", home=tmp_path)
    assert done.returncode == 0
    assert parse(done.stdout) == samples


def test_the_file_is_replaced_as_a_whole_and_others_may_read_it(tmp_path: Path) -> None:
    spot_ledgers.write(tmp_path, Try(0, "finished", 2), Try(3, "up"))
    folder = tmp_path / "collector"
    folder.mkdir()
    file = folder / "mlbroker.prom"
    file.write_text("old\n")
    done = mlbroker("metrics", "-o", file, home=tmp_path)
    assert (done.returncode, done.stdout) == (0, "")
    samples = parse(file.read_text())
    assert value(samples, "mlbroker_spent_usd_total", cloud="aws", project="", user="u") == 1
    assert [path.name for path in folder.iterdir()] == ["mlbroker.prom"]
    assert file.stat().st_mode & 0o044
    gone = mlbroker("metrics", "-o", tmp_path / "nowhere" / "m.prom", home=tmp_path)
    assert gone.returncode == 2
    assert "cannot be written" in gone.stderr
    assert "Traceback" not in gone.stderr


def test_a_run_without_attempts_has_the_cloud_it_is_for() -> None:
    lost: Run = run(state=State.RESERVED, details={}, reserved_usd=Decimal(1))
    samples = parse(metrics_text([lost], 1))
    assert value(samples, "mlbroker_reserved_usd", cloud="", project="nlp", user="ada") == 1
