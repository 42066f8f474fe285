"""What the formats promise: validity, size, and that nothing in a job can break out of them."""

import io
import json
import re
import xml.etree.ElementTree as ET
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from tests.support.repositories import job_text

from mlbroker.broker.ci.changes import JobChange
from mlbroker.broker.ci.check import (
    CostCheck,
    Thresholds,
    crossings,
    parse_carbon_kg,
    parse_share,
    unjudged,
)
from mlbroker.broker.ci.formats import FORMATS, markdown, renderer
from mlbroker.broker.ci.pairs import ChangeStatus, JobPair
from mlbroker.broker.ci.priced import Inputs, PricedJob, priced_document, priced_from
from mlbroker.broker.errors import InputError
from mlbroker.broker.files.job_file import parse_jobs
from mlbroker.broker.output import fail, inert, print_json, print_line, print_table, say
from mlbroker.policies.quote import Cost, Quote
from mlbroker.pricing.book import Snapshot
from mlbroker.pricing.offer import Market
from mlbroker.profiles.prediction import Basis, Quantiles

HOSTILE = "x|`@everyone` #1 <script>alert(1)</script> [a](http://b) www.c.org \x1b[2J\u202e ![i](j)"


def quote(cost: str = "1.5") -> Quote:
    amount = Decimal(cost)
    zero = Decimal(0)
    return Quote(
        "aws", "us-east-1", "m5.large", Market.SPOT, 2, Decimal("0.05"), date(2026, 11, 1), "test",
        False, Quantiles(0.1, 0.2, 0.3), Basis.DATASHEET, "never measured",
        Quantiles(1, 2, 3), Cost(amount, amount * 2, amount, zero, zero, zero), 0.95, 0.4, None,
        0.3,
    )  # fmt: skip


def side(cost: str = "1.5", problem: str | None = None) -> PricedJob:
    found = None if problem else quote(cost)
    return PricedJob(found, problem, 43200.0, 30, Inputs("a", "b", "c"))


def change(
    name: str = "train",
    status: ChangeStatus = ChangeStatus.CHANGED,
    base: PricedJob | None = None,
    head: PricedJob | None = None,
    path: str = "jobs/train.yaml",
    reasons: tuple[str, ...] = ("job: broker.work.steps: 1 → 2",),
    problem: InputError | None = None,
) -> JobChange:
    (then,) = parse_jobs(job_text("train"), path, None)
    (now,) = parse_jobs(job_text("train", 40_000), path, None)
    pair = JobPair(path, name, status, then, now, problem=problem)
    return JobChange(pair, status, base, head, reasons)


def check_of(*jobs: JobChange, limits: Thresholds | None = None) -> CostCheck:
    snapshot = Snapshot("0123456789abcdef", {"aws": date(2026, 11, 1)}, {}, 1, 0)
    limits = limits or Thresholds()
    crossed, open_ = crossings(jobs, limits), unjudged(jobs, limits)
    return CostCheck(
        jobs, crossed, open_, snapshot, datetime(2026, 11, 1, tzinfo=UTC), "main", None
    )


MIXED = check_of(
    change(base=side("1"), head=side("2")),
    change("new", ChangeStatus.ADDED, None, side("3")),
    change("gone", ChangeStatus.REMOVED, side("4"), None),
    change(
        "stuck",
        ChangeStatus.CHANGED,
        side("1"),
        side(problem="no machine: a deadline of 9h would do"),
    ),
    change(
        "bad", ChangeStatus.BROKEN, problem=InputError("unknown key", where="jobs/train.yaml:7")
    ),
    change("same", ChangeStatus.UNCHANGED),
    limits=Thresholds(Decimal("0.1"), Decimal("2.5"), Decimal(50), Decimal(1)),
)


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_shows_every_touched_job_and_no_other(name: str) -> None:
    text = renderer(name)(MIXED)
    for job in ("train", "new", "gone", "stuck", "bad"):
        if not (name == "sarif" and job == "gone"):  # what is gone has no line to point at
            assert job in text
    if name != "json":
        assert "same" not in text.replace("same |", "")


@pytest.mark.parametrize("name", FORMATS)
def test_an_empty_check(name: str) -> None:
    assert renderer(name)(check_of())


def test_limits_cross_where_they_should() -> None:
    found = [(crossing.limit, crossing.job.pair.name) for crossing in MIXED.crossed]
    assert found == [
        ("max-increase", "train"),
        ("max-monthly", "train"),
        ("max-cost", "new"),
        ("max-monthly", "new"),
    ]


def test_what_is_equal_to_its_limit_does_not_cross_it() -> None:
    limits = Thresholds(Decimal(1), Decimal(2), Decimal(60))
    assert crossings([change(base=side("1"), head=side("2"))], limits) == []


def test_junit_has_a_failure_for_each_crossed_limit() -> None:
    root = ET.fromstring(renderer("junit")(MIXED))
    suite = root[0]
    failures = [case.get("name") for case in suite if case.find("failure") is not None]
    assert failures == [
        "train: max-increase",
        "train: max-monthly",
        "new: max-cost",
        "new: max-monthly",
        "stuck: feasible",
    ]
    assert [case.get("name") for case in suite if case.find("error") is not None] == [
        "bad: readable"
    ]
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("7", "5", "1")


def test_sarif_points_at_the_offending_line() -> None:
    log = json.loads(renderer("sarif")(MIXED))
    found = {
        (result["ruleId"], result["message"]["text"].partition(":")[0]):
            result["locations"][0]["physicalLocation"]["region"]["startLine"]
        for result in log["runs"][0]["results"]
    }  # fmt: skip
    assert found["max-increase", "train"] == 6
    assert found["max-monthly", "new"] == 7
    assert found["broken-job", "bad"] == 7
    assert found["nothing-feasible", "stuck"] == 5
    rules = [rule["id"] for rule in log["runs"][0]["tool"]["driver"]["rules"]]
    assert all(
        rules[result["ruleIndex"]] == result["ruleId"] for result in log["runs"][0]["results"]
    )


def test_sarif_quotes_paths() -> None:
    log = json.loads(
        renderer("sarif")(check_of(change(base=side("1"), head=side("2"), path="a b/ü%.yaml")))
    )
    location = log["runs"][0]["results"][0]["locations"][0]["physicalLocation"]
    assert location["artifactLocation"]["uri"] == "a%20b/%C3%BC%25.yaml"


def test_markdown_stays_below_the_forges_limit() -> None:
    one = change(base=side("1"), head=side("2"), reasons=("job: " + "x" * 3000,) * 100,
               path="deep/" * 50 + "job.yaml")  # fmt: skip
    lines = [replace(one, pair=replace(one.pair, name=f"job-{i}")) for i in range(3000)]
    text = markdown.render(check_of(*lines, limits=Thresholds(max_cost_usd=Decimal("0.1"))))
    assert 30_000 < len(text) < 65_000
    assert "more jobs" in text
    assert text.count("<details>") == text.count("</details>") == 1
    html = MarkdownIt("gfm-like", {"linkify": False}).render(text)
    assert html.count("<tr>") > 20


def test_markdown_lists_the_largest_changes_first() -> None:
    small, large = (
        change("small", base=side("1"), head=side("2")),
        change("large", base=side("1"), head=side("9")),
    )
    text = markdown.render(check_of(small, large))
    assert text.index("large") < text.index("small")


def rendered(text: str) -> str:
    return MarkdownIt("gfm-like", {"html": True, "linkify": False}).render(text)


def test_hostile_texts_stay_texts() -> None:
    attack = change(HOSTILE, base=side("1"), head=side("2"), path=HOSTILE, reasons=(HOSTILE,) * 3)
    broken = change("bad", ChangeStatus.BROKEN, path=HOSTILE,
                  problem=InputError(HOSTILE, where=HOSTILE, hint=HOSTILE))  # fmt: skip
    check = check_of(attack, broken, limits=Thresholds(max_cost_usd=Decimal("0.1")))
    source = markdown.render(check)
    html = rendered(source)
    assert "<script" not in html
    assert "<a " not in html
    assert "<img" not in html
    assert "@everyone" not in source
    assert "#1 " not in source
    assert "\x1b" not in source
    assert "\u202e" not in source
    assert html.count("<tr>") == 3
    ET.fromstring(renderer("junit")(check))
    json.loads(renderer("json")(check))
    json.loads(renderer("sarif")(check))
    assert "\x1b" not in renderer("table")(check)


@given(st.text(max_size=100))
def test_any_text_is_one_plain_cell(text: str) -> None:
    html = rendered(f"| a |\n|---|\n| {markdown.safe(text) or 'x'} |\n")
    assert html.count("<td>") == 1
    assert "<a " not in html
    assert "<em>" not in html
    assert "<strong>" not in html
    assert "<code>" not in html


def test_sides_survive_being_saved() -> None:
    for kept in (side(), side(problem="no machine"), replace(side(), forbidden="deny: spot")):
        entry = {
            "head": priced_document(kept),
            "head_problem": kept.problem,
            "head_forbidden": kept.forbidden,
            "head_inputs": kept.inputs._asdict(),
        }
        again = priced_from(json.loads(json.dumps(entry)), "head")
        assert again is not None
        assert (again.quote, again.problem, again.forbidden) == (
            kept.quote, kept.problem, kept.forbidden,
        )  # fmt: skip
        assert again.inputs == kept.inputs


def test_values_of_limits() -> None:
    assert parse_share("10%") == Decimal("0.1")
    assert parse_share(" 0.5 % ") == Decimal("0.005")
    assert parse_carbon_kg("5 kg") == parse_carbon_kg("5") == 5
    for text in ("10", "%", "-5%", "1e3%", "ten%", "1.2.3%"):
        with pytest.raises(InputError):
            parse_share(text)


# As runners read a log: a command begins a line (GitHub), or stands anywhere in one (Azure).
OBEYED = re.compile(r"^\s*::|##\w*\[", re.MULTILINE)
ORDERS = ("::error::x", "a\n::stop-commands::t", "a\r\n  ::x::", "##vso[task.x]y", "a ##[group]b")


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("order", ORDERS)
def test_no_line_of_any_format_is_a_command_to_ci(name: str, order: str) -> None:
    hostile = change(order, base=side("1"), head=side("2"), path=order, reasons=(order,))
    problem = InputError(order, where=order, hint=order)
    stuck = change(order, base=side("1"), head=side(problem=order), path=order)
    broken = change(order, ChangeStatus.BROKEN, path=order, problem=problem)
    check = check_of(hostile, broken, stuck, limits=Thresholds(max_cost_usd=Decimal("0.1")))
    text = renderer(name)(check)
    assert OBEYED.search(text) is None
    if name == "json":
        assert json.loads(text)["jobs"][0]["path"] == order
    if name == "junit":
        case = ET.fromstring(text).find(".//testcase")
        assert case is not None
        assert case.get("classname") == order.replace("\r", "\ufffd")


@given(st.text(st.sampled_from(":#[v \n\tx"), max_size=12))
def test_nothing_that_is_printed_is_a_command_to_ci(text: str) -> None:
    assert OBEYED.search(inert(text)) is None
    shown = io.StringIO()
    with redirect_stdout(shown), redirect_stderr(shown):
        say(text)
        print_line(text)
        print_table([text or "a"], [[text]], title=text)
        print_json({text: text})
        fail(InputError(text, where=text, hint=text))
    assert OBEYED.search(shown.getvalue()) is None


@given(st.text(max_size=60))
def test_texts_that_order_nothing_are_printed_as_they_are(text: str) -> None:
    if OBEYED.search(text) is None:
        assert inert(text) == text
