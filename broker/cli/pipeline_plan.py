"""`mlbroker plan` of a pipeline: its stages in a table, and what their choices do to the whole."""

import math
from decimal import Decimal

from mlbroker.broker.app.pipeline import PlannedPipeline, nothing_feasible, plan_pipeline
from mlbroker.broker.app.pipeline_stages import PipelineQuery
from mlbroker.broker.cli.terminal import Terminal
from mlbroker.broker.home import home
from mlbroker.broker.output import print_json, print_line, print_table
from mlbroker.broker.words import count, duration, mass, money
from mlbroker.policies.pipeline.candidates import place_of
from mlbroker.policies.pipeline.explain import Alternative
from mlbroker.policies.pipeline.planning import Planned

COLUMNS = ("stage", "cloud", "region", "machine", "market", "starts", "takes", "USD", "slack", "on")
RIGHT = ("starts", "takes", "USD", "slack")
# Left out on a narrow terminal, in this order.
SPARE = (9, 4, 2)
CHOICES = ("stage", "instead", "machine", "region", "total USD", "change", "total time", "in time")


def show(query: PipelineQuery, *, json: bool) -> None:
    """Make the plan and print it; raises what it fails with after that."""
    terminal = Terminal()
    tell_of(query, terminal)
    made = plan_pipeline(query, home(), terminal)
    if json:
        from mlbroker.broker.app.pipeline_document import pipeline_document

        print_json(pipeline_document(made))
    else:
        _show(made)
    if made.plan.solution.selection is None:
        raise nothing_feasible(made)


def tell_of(query: PipelineQuery, terminal: Terminal) -> None:
    """How the stages were read, and what keeps each from a run."""
    not_run = list(query.file.header.not_run)
    for file in query.file.stages:
        job = file.job
        if job.ignored:
            ignored = ", ".join(job.ignored)
            terminal.note(f"{job.name}: ignored, as mlbroker has no use for it: {ignored}")
        for sentence in job.said:
            terminal.note(f"{job.name}: {sentence}")
        not_run += [f"{job.name}: {reason}" for reason in job.not_run]
    if not_run:
        terminal.note(f"For a plan only; a run would be refused: {'; '.join(not_run)}.")


def _show(made: PlannedPipeline) -> None:
    print_line(_title(made))
    plan = made.plan
    if plan.table is None:
        return
    critical = set(plan.table.critical)
    rows = []
    for number, stage in enumerate(plan.chosen):
        quote, on = stage.quote, stage.reuses
        rows.append(
            (
                made.names[number], quote.cloud, quote.region, quote.instance_type,
                quote.market.replace("_", "-"), duration(stage.start_s),
                duration(stage.end_s - stage.start_s), money(stage.cost_usd),
                "critical" if number in critical else duration(stage.slack_s),
                "" if on is None else f"the machine of {made.names[on]}",
            )
        )  # fmt: skip
    print_table(COLUMNS, rows, right=RIGHT, spare=SPARE)
    print_line("")
    print_line(_total_words(made))
    for line in _traffic_words(made):
        print_line(line)
    if made.choices:
        _explain(made)
    print_line(_proof_words(plan))


def _title(made: PlannedPipeline) -> str:
    limits, parts = made.query.limits, [count(len(made.names), "stage")]
    deadline_s = made.plan.problem.deadline_s
    if deadline_s is not None:
        parts.append(f"deadline {duration(deadline_s)} at {limits.confidence * 100:.4g}%")
    if limits.budget_usd is not None:
        parts.append(f"budget {limits.budget_usd:,} USD")
    return f"{made.query.file.name}: {', '.join(parts)}"


def _total_words(made: PlannedPipeline) -> str:
    plan = made.plan
    selection = plan.solution.selection
    assert selection is not None
    text = (
        f"In all {money(plan.cost_usd)} USD, in nine cases of ten at most"
        f" {_money(selection.p90_usd)} USD; {duration(selection.duration_s)}"
    )
    sure = f"{made.query.limits.confidence * 100:.4g}%"
    text += f", {sure} sure within {duration(selection.sure_s, least=True)}"
    if selection.chance is not None:
        text += f"; in time with {min(selection.chance, 0.999):.1%}"
    kg = plan.carbon_kgco2e
    return text + (f"; {mass(kg)} CO2e." if kg is not None else ".")


def _traffic_words(made: PlannedPipeline) -> list[str]:
    """What is sent between places, as it may be more than the machines cost."""
    lines, chosen, problem = [], made.plan.chosen, made.plan.problem
    for number, stage in enumerate(problem.stages):
        for before in stage.needs:
            gb = problem.stages[before].sends_gb
            source, target = (place_of(chosen[n].quote) for n in (before, number))
            if not gb or source == target:
                continue
            usd, seconds = problem.link(before, source, target)
            lines.append(
                f"{made.names[before]} → {made.names[number]}: {gb:g} GB from {source} to"
                f" {target}, {_money(usd)} USD and {duration(seconds)}."
            )
    return lines


def _explain(made: PlannedPipeline) -> None:
    assert made.plan.table is not None
    names = " → ".join(made.names[number] for number in made.plan.table.critical)
    print_line(f"The longest path, which sets the duration: {names}.")
    rows = []
    for number, (name, found) in enumerate(zip(made.names, made.choices, strict=True)):
        for word, other in (("cheaper", found.cheaper), ("faster", found.faster)):
            if other is not None:
                rows.append((name, word, *_other(made.plan, number, other)))
    if rows:
        title = "The next cheaper and the next faster choice of each stage, the others as they are"
        print_table(CHOICES, rows, title=title, right=CHOICES[4:], spare=(3,))
    print_line("")


def _other(plan: Planned, number: int, other: Alternative) -> tuple[str, ...]:
    selection = plan.solution.selection
    assert selection is not None
    quote, whole = plan.quotes[number][other.option], other.whole
    change = whole.cost_usd - selection.cost_usd
    chance = "" if whole.chance is None else f"{min(whole.chance, 0.999):.1%}"
    return (
        quote.instance_type, quote.region, _money(whole.cost_usd),
        f"{'+' if change > 0 else ''}{_money(change)}", duration(whole.duration_s), chance,
    )  # fmt: skip


def _proof_words(plan: Planned) -> str:
    solution, among = plan.solution, count(sum(map(len, plan.quotes)), "quote")
    if solution.timed_out and solution.gap == math.inf:
        return f"Time ran out among {among}, with no bound on how much better others are."
    if solution.timed_out:
        return f"Time ran out at a proved gap of {solution.gap:.2%}, among {among}."
    if solution.gap == math.inf:
        return f"The quickest of {among}: hardly anything else is in time."
    return f"Chosen among {among}, proved to {max(solution.gap, 1e-4):.2%}."


def _money(amount: float) -> str:
    return money(Decimal(str(round(amount, 6))))
