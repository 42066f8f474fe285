"""A plan as a page: the choice, what it was chosen from, and why not the rest."""

from mlbroker.broker.choice_words import choice_words, measure_words, plan_title, prices_words
from mlbroker.broker.plan_words import REASON_WORDS, falls_back_words, nothing_chosen
from mlbroker.broker.report.page import Served, page
from mlbroker.broker.report.parts import KeyFigure, KeyFigures, Notes, Part, Prose, Table
from mlbroker.broker.report.plan_carbon import carbon_chart
from mlbroker.broker.report.plan_charts import cost_chart, field_chart, step_chart
from mlbroker.broker.report.plan_rows import machine_rows, verdict_words
from mlbroker.broker.report.rows import Rows, rows_of
from mlbroker.broker.words import duration, mass, money
from mlbroker.policies.embodied import Embodied
from mlbroker.policies.planner.book import Book
from mlbroker.policies.planner.plan import Plan
from mlbroker.policies.quote import Quote

_FILTERS = ("cloud", "region", "type", "market", "gpu", "verdict", "why", "usd")
_NOT_SHOWN = {"front"}
_MOST = "in nine runs of ten at most"


def plan_page(
    plan: Plan, book: Book, served: Served | None = None, *, embodied: Embodied | None = None
) -> str:
    """The page of a plan with all its quotes (`top=0`) and rejections (`explain`).

    With `embodied`, what making the machines emitted too. MlbrokerError where the chart library was
    not built.
    """
    rows = machine_rows(plan, book, embodied)
    parts: list[Part | None] = [
        _headline(plan),
        _key_figures(plan, embodied),
        _advice(plan),
        field_chart(plan, rows),
        cost_chart(plan),
        step_chart(plan),
        carbon_chart(plan, book),
        _why_not(plan),
        _table(rows),
        _notes(plan),
    ]
    return page(plan_title(plan), [part for part in parts if part is not None], served)


def _headline(plan: Plan) -> Prose:
    if plan.choice is None:
        failure = nothing_chosen(plan)
        texts = [f"Nothing chosen: {failure.what}."]
        return Prose(
            texts + ([f"What would do: {failure.hint}."] if failure.hint else []), strong=True
        )
    return Prose(choice_words(plan).splitlines(), strong=True)


def _key_figures(plan: Plan, embodied: Embodied | None) -> KeyFigures | None:
    choice = plan.choice
    if choice is None:
        return None
    figures = [*_of_the_run(plan, choice)]
    kg = choice.carbon_kgco2e
    if choice.cost_usd is not None:
        figures.append(KeyFigure("Carbon", "unknown" if kg is None else mass(kg), "of CO2e"))
    if embodied is not None and choice.cost_usd is not None:
        made = embodied.kgco2e(choice)
        words = "unknown" if made is None else mass(made)
        figures.append(KeyFigure("Embodied", words, "of CO2e, from making the machines"))
    out = sum(plan.rejections.values())
    figures.append(
        KeyFigure("Would do", f"{plan.feasible:,}", f"of {plan.feasible + out:,} offers")
    )
    return KeyFigures(figures)


def _of_the_run(plan: Plan, choice: Quote) -> list[KeyFigure]:
    cost, hours = choice.cost_usd, choice.duration_h
    if cost is None or hours is None:
        price = KeyFigure(
            "An hour costs", f"{money(choice.hourly_usd)} USD", "disk and address included"
        )
        return [price, KeyFigure("A run", "unknown", "the job was never measured")]
    figures = [
        KeyFigure("Cost", f"{money(cost.expected)} USD", f"{_MOST} {money(cost.p90)}"),
        KeyFigure("Time", duration(hours.p50 * 3600), f"{_MOST} {duration(hours.p90 * 3600)}"),
    ]
    saved, usual = plan.savings_usd, plan.baseline
    if saved is not None and usual is not None and saved > 0:
        against = f"against {usual.instance_type} in {usual.region}"
        figures.append(KeyFigure("Saved", f"{money(saved)} USD", against))
    chance = choice.deadline_probability
    if chance is not None and plan.constraints.deadline_s is not None:
        asked = f"{plan.constraints.confidence * 100:.4g}% asked for"
        figures.append(KeyFigure("In time", f"{min(chance, 0.999):.1%}", asked))
    return figures


def _advice(plan: Plan) -> Prose | None:
    choice = plan.choice
    back = None if choice is None else falls_back_words(choice, plan.constraints.deadline_s)
    texts = [text for text in (back, measure_words(plan)) if text]
    return Prose(texts) if texts else None


def _why_not(plan: Plan) -> Table | None:
    """How many offers are out for which reason."""
    if not plan.rejections:
        return None
    counted = sorted(plan.rejections.items(), key=lambda item: -item[1])
    records = [
        {"number": number, "words": REASON_WORDS[reason], "verdict": verdict_words(reason)}
        for reason, number in counted
    ]
    heads = {"number": ("Offers", "{:,}".format), "words": "Why not", "verdict": "Verdict"}
    return Table("Not picked", rows_of(records, heads))


def _table(rows: Rows) -> Table:
    columns = [column.name for column in rows.columns if column.name not in _NOT_SHOWN]
    return Table("All machines", rows, columns, _FILTERS)


def _notes(plan: Plan) -> Notes:
    notes = [
        ("-", "not worked out: the machine was out before that"),
        ("unknown", "nobody publishes it; it is not zero"),
        (
            "Time, Cost",
            "of the whole job on all its nodes, set-up included; 90 %: in nine runs of ten",
        ),
        (
            "Made",
            f"{plan.generated_at:%Y-%m-%d %H:%M} UTC by mlbroker. {prices_words(plan.snapshot)}.",
        ),
    ]
    return Notes(notes, "Notes")
