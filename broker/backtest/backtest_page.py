"""A back-test as one HTML page: how far from the best every choice was, strategy by strategy."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlbroker.broker.report.page import page
from mlbroker.broker.report.parts import Chart, Notes, Part, Prose, Table
from mlbroker.broker.report.rows import Figures, Rows, Words, rows_of
from mlbroker.broker.report.specs import Spec, axis, numbers, tooltip
from mlbroker.broker.words import count

# A strategy's document, and the 80 % interval of its mean all-in ratio.
Outcome = tuple[Mapping[str, Any], float, float]
_ROW = 44  # height of a strategy, in pixels
_NOTES = (
    ("Cost", "of the choice, as a multiple of the cheapest configuration that meets the deadline"),
    ("All-in", "the same with what probing cost"),
    ("Missed", "of the jobs: the deadline was not met, or nothing that works was chosen"),
    ("Error", "median of the predicted times' errors on configurations never probed"),
    ("Held", "of these times: inside their 80 % interval"),
)


def backtest_page(results: Sequence[Outcome]) -> str:
    """All strategies beside each other; MlbrokerError as `page` says."""
    first = results[0][0]
    jobs = len({job["job"] for job in first["jobs"]})
    factor, hours = first["deadline_factor"], first["job_hours"]
    told = [
        f"{count(jobs, 'job')} of {Path(first['table']).name}, each "
        + ("as it ran" if hours is None else f"scaled to {hours:g} h on its cheapest configuration")
        + ("" if factor is None else f", by a deadline of {factor:g} times its fastest run")
        + ". A time becomes known only by paying for a probe; 1 is the best possible choice."
    ]
    trials = _trials(results)
    parts: list[Part] = [
        Prose(told, strong=True),
        Table("The strategies", _summaries(results)),
        _shares(results),
        _strip(trials, [document["strategy"] for document, _, _ in results]),
        Table(
            "Every job", trials, None, ("strategy", "job", "chosen", "in_time", "cost", "all_in")
        ),
        Notes(_NOTES, "Notes"),
    ]
    return page("Back-test of choices", parts)


def _summaries(results: Sequence[Outcome]) -> Rows:
    records = []
    for document, low, high in results:
        total = document["summary"]
        records.append({
            "strategy": document["strategy"], "all_in": total["all_in_ratio"], "low": low,
            "high": high, "cost": total["cost_ratio"], "probes": total["probes"]["mean"],
            "missed": total["deadline_miss_rate"], "error": total["median_ape"],
            "held": total["interval80_coverage"],
        })  # fmt: skip
    rows = rows_of(records, {
        "strategy": "Strategy", "all_in": ("All-in, mean", _ratio), "low": ("80 % from", _ratio),
        "high": ("to", _ratio), "cost": ("Cost, mean", _ratio), "probes": ("Probes", _one),
        "missed": ("Missed", _share), "error": ("Error", _share), "held": ("Held", _share),
    })  # fmt: skip
    # A strategy that predicts nothing has no errors: that is no lack of knowledge.
    return Rows([
        column._replace(unknown="-") if column.name in ("error", "held") else column
        for column in rows.columns
    ])  # fmt: skip


def _trials(results: Sequence[Outcome]) -> Rows:
    """A row for each job under each strategy, the dearest choices first."""
    played = [(document["strategy"], job) for document, _, _ in results for job in document["jobs"]]
    played.sort(key=lambda each: -each[1]["all_in_ratio"])
    jobs = [job for _, job in played]
    return Rows([
        Words("strategy", "Strategy", [strategy for strategy, _ in played]),
        Words("job", "Job", [job["job"] for job in jobs]),
        Figures("all_in", "All-in", [job["all_in_ratio"] for job in jobs], _ratio),
        Figures("cost", "Cost", [job["cost_ratio"] for job in jobs], _ratio),
        Figures("probes", "Probes", [float(len(job["probes"])) for job in jobs], "{:.0f}".format),
        Words("chosen", "Chosen", [job["chosen"] for job in jobs], "nothing works"),
        Words("best", "Best", [job["best"] for job in jobs]),
        Words("in_time", "In time", ["yes" if job["deadline_met"] else "no" for job in jobs]),
    ])  # fmt: skip


def _shares(results: Sequence[Outcome]) -> Chart:
    """For each strategy, the share of jobs whose choice costs at most so much."""
    records = []
    for document, _, _ in results:
        ratios = sorted(job["cost_ratio"] for job in document["jobs"])
        records += [
            {"strategy": document["strategy"], "cost": ratio, "share": place / len(ratios)}
            for place, ratio in enumerate([ratios[0], *ratios])
        ]
    rows = rows_of(records, {
        "strategy": "Strategy", "cost": ("Cost", _ratio), "share": ("Share of jobs", _share),
    })  # fmt: skip
    title = "cost of the choice, as a multiple of the best"
    x = axis("cost", title, numbers(rows, "cost"), zero=False)
    spec: Spec = {
        "height": 280,
        "mark": {"type": "line", "interpolate": "step-after", "strokeWidth": 2},
        "encoding": {
            "x": x | {"scale": x["scale"] | {"domainMin": 1}},
            "y": {"field": "share", "type": "quantitative", "title": "share of jobs",
                  "axis": {"format": "%"}, "scale": {"domain": [0, 1]}},
            "color": {"field": "strategy", "type": "nominal", "title": None, "sort": None},
            "tooltip": tooltip(rows, ("strategy", "cost", "share")),
        },
    }  # fmt: skip
    at_best = ", ".join(
        f"{document['strategy']} {sum(job['cost_ratio'] < 1.005 for job in jobs) / len(jobs):.0%}"
        for document, _, _ in results
        for jobs in [document["jobs"]]
    )
    words = f"The higher a line, the more choices are that good. The best itself chose: {at_best}."
    return Chart("How good the choices were", spec, rows, words)


def _strip(trials: Rows, strategies: Sequence[str]) -> Chart:
    """Every job as a tick, and its strategy's mean."""
    values = numbers(trials, "all_in")
    x = axis("all_in", "all-in, as a multiple of the best", values, zero=False)
    y = {"field": "strategy", "type": "nominal", "title": None, "scale": {"domain": strategies}}
    mean = {"aggregate": "mean", "field": "all_in", "type": "quantitative"}
    spec: Spec = {
        "height": _ROW * len(strategies),
        "encoding": {"y": y},
        "layer": [
            {"mark": {"type": "tick", "thickness": 2, "size": 22, "opacity": 0.5,
                      "color": "--series-1"},
             "encoding": {"x": x, "tooltip": tooltip(
                 trials, ("job", "strategy", "all_in", "cost", "chosen", "best"))}},
            {"mark": {"type": "point", "filled": True, "size": 110, "color": "--series-2"},
             "encoding": {"x": x | mean}},
        ],
    }  # fmt: skip
    words = "A tick is a job, the dot is the mean. What probing cost is included."
    return Chart("What it cost with its probes", spec, trials, words)


def _ratio(value: float) -> str:
    return f"{value:.2f}"


def _one(value: float) -> str:
    return f"{value:.1f}"


def _share(value: float) -> str:
    return f"{value:.0%}"
