"""A study as a page: its best, what that cost, what was tried, and which variables matter."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from mlbroker.broker.report.page import Served, page
from mlbroker.broker.report.parts import KeyFigure, KeyFigures, Notes, Part, Prose, Table
from mlbroker.broker.report.tune_charts import (
    best_chart,
    importance_chart,
    points_chart,
    rungs_chart,
    short,
    trial_rows,
)
from mlbroker.broker.tuning.importance import Importance
from mlbroker.broker.tuning.record import StudyState
from mlbroker.broker.words import count, figure, span


def tune_page(
    told: Mapping[str, Any],
    found: StudyState,
    states: Sequence[str],
    importance: Importance | None,
    served: Served | None = None,
) -> str:
    """The page of a study, from its document (`tune show --json`), its record and the `states` of
    its trials. MlbrokerError where the chart library was not built.
    """
    usd = Decimal(told["spent_usd"])
    usd_per_s = float(usd) / told["spent_s"] if usd and told["spent_s"] else None
    parts: list[Part | None] = [
        _headline(told, found),
        _figures(told),
        None if told["doubt"] is None else Prose(f"Look here: {told['doubt']}."),
        best_chart(told, usd_per_s),
        points_chart(told, found),
        rungs_chart(told),
        None if importance is None else importance_chart(told, importance),
        Table("All trials", trial_rows(told, found, states), filters=("state",))
        if found.trials
        else None,
        _notes(told),
    ]
    return page(f"Study {told['study']}", [part for part in parts if part is not None], served)


def _headline(told: Mapping[str, Any], found: StudyState) -> Prose:
    best = told["best"]
    if best is None:
        return Prose(f"No trial has told {told['metric']} yet.", strong=True)
    point = found.trials[best["trial"]].point
    named = ", ".join(f"{name} {short(value)}" for name, value in point.items())
    return Prose(
        f"The best {told['metric']} is {figure(best['metric'])}: trial {best['trial']} at "
        f"{told['resource']} {best['at']}, with {named}.",
        strong=True,
    )


def _figures(told: Mapping[str, Any]) -> KeyFigures:
    ended = "at work" if told["running"] else told["ended"] or "interrupted"
    best = told["best"]
    return KeyFigures(
        [
            KeyFigure("best", "-" if best is None else figure(best["metric"]), told["goal"]),
            KeyFigure("trials", str(told["trials"]), f"{told['failed']} failed"),
            KeyFigure("work", span(told["spent_s"]), count(len(told["runs"]), "run")),
            KeyFigure("spent", f"{told['spent_usd']} USD", ended),
        ]
    )


def _notes(told: Mapping[str, Any]) -> Notes:
    resource = told["resource"]
    return Notes(
        [
            ("work", "seconds of all trials; what a lane that was killed had begun is not in it"),
            ("USD", "what the runs cost, start-up and all, shared out evenly over the work"),
            ("whole", f"a trial of {told['most']} x {resource}; a paused one may still go on"),
            ("searcher", told["searcher"]),
        ],
        "Notes",
    )
