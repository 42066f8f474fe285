"""`mlbroker plan` of a pipeline: its stages in a table, and what their choices do to the whole."""

import math
from decimal import Decimal
from typing import TYPE_CHECKING

from mlbroker.broker.app.pipeline import PlannedPipeline, plan_pipeline
from mlbroker.broker.app.pipeline_stages import PipelineQuery
from mlbroker.broker.cli.terminal import Terminal
from mlbroker.broker.home import home
from mlbroker.broker.output import print_json, print_line, print_table
from mlbroker.broker.words import count, duration, mass, money

if TYPE_CHECKING:
    from mlbroker.policies.pipeline.explain import Alternative

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
    if made.failure is not None:
        raise made.failure


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
    selection, table = made.selection, made.table
    if selection is None or table is None:
        return
    critical = set(table.critical)
    rows = []
    for number, stage in enumerate(made.stages):
        quote, cost = stage.choice, stage.cost_usd
        assert quote is not None
        assert cost is not None
        rows.append(
            (
                stage.job.name, quote.cloud, quote.region, quote.instance_type,
                quote.market.replace("_", "-"), duration(stage.start_s),
                duration(stage.end_s - stage.start_s), money(cost),
                "critical" if number in critical else duration(stage.slack_s),
                f"the machine of {stage.reuses}" if stage.reuses else "",
            )
        )  # fmt: skip
    print_table(COLUMNS, rows, right=RIGHT, spare=SPARE)
    print_line("")
    print_line(_total_words(made))
    for line in _traffic_words(made):
        print_line(line)
    if made.choices:
        _explain(made)
    candidates = sum(len(stage.quotes) for stage in made.stages)
    print_line(_proof_words(made, candidates))


def _title(made: PlannedPipeline) -> str:
    limits, parts = made.query.limits, [count(len(made.stages), "stage")]
    if made.deadline_s is not None:
        parts.append(f"deadline {duration(made.deadline_s)} at {limits.confidence * 100:.4g}%")
    if limits.budget_usd is not None:
        parts.append(f"budget {limits.budget_usd:,} USD")
    return f"{made.query.file.name}: {', '.join(parts)}"


def _total_words(made: PlannedPipeline) -> str:
    selection, cost = made.selection, made.cost_usd
    assert selection is not None
    assert cost is not None
    text = (
        f"In all {money(cost)} USD, in nine cases of ten at most"
        f" {money(Decimal(str(selection.p90_usd)))} USD; {duration(selection.duration_s)}"
    )
    sure = f"{made.query.limits.confidence * 100:.4g}%"
    text += f", {sure} sure within {duration(selection.sure_s, least=True)}"
    if selection.chance is not None:
        text += f"; in time with {min(selection.chance, 0.999):.1%}"
    kg = made.carbon_kgco2e
    return text + (f"; {mass(kg)} CO2e." if kg is not None else ".")


def _traffic_words(made: PlannedPipeline) -> list[str]:
    """What is sent between places, as it may be more than the machines cost."""
    lines = []
    for number, stage in enumerate(made.stages):
        for before in made.query.file.needs[number]:
            source = made.stages[before].choice
            target = stage.choice
            gb = made.query.file.stages[before].job.data.output_gb
            if source is None or target is None or not gb:
                continue
            ends = [f"{quote.cloud}/{quote.region}" for quote in (source, target)]
            if ends[0] == ends[1]:
                continue
            usd, seconds = made.problem.link(before, *ends)
            lines.append(
                f"{made.stages[before].job.name} → {stage.job.name}: {gb.normalize():f} GB from"
                f" {ends[0]} to {ends[1]}, {money(Decimal(str(usd)))} USD and {duration(seconds)}."
            )
    return lines


def _explain(made: PlannedPipeline) -> None:
    assert made.table is not None
    names = " → ".join(made.stages[number].job.name for number in made.table.critical)
    print_line(f"The longest path, which sets the duration: {names}.")
    rows = []
    for number, (stage, found) in enumerate(zip(made.stages, made.choices, strict=True)):
        for word, other in (("cheaper", found.cheaper), ("faster", found.faster)):
            if other is not None:
                rows.append((stage.job.name, word, *_other(made, number, other)))
    if rows:
        title = "The next cheaper and the next faster choice of each stage, the others as they are"
        print_table(CHOICES, rows, title=title, right=CHOICES[4:], spare=(3,))
    print_line("")


def _other(made: PlannedPipeline, number: int, other: "Alternative") -> tuple[str, ...]:
    selection = made.selection
    assert selection is not None
    quote, whole = made.stages[number].quotes[other.option], other.whole
    change = Decimal(str(round(whole.cost_usd - selection.cost_usd, 6)))
    chance = "" if whole.chance is None else f"{min(whole.chance, 0.999):.1%}"
    total = money(Decimal(str(round(whole.cost_usd, 6))))
    sign = "+" if change > 0 else ""
    return (
        quote.instance_type, quote.region, total, f"{sign}{money(change)}",
        duration(whole.duration_s), chance,
    )  # fmt: skip


def _proof_words(made: PlannedPipeline, candidates: int) -> str:
    solution = made.solution
    if solution.timed_out:
        return (
            f"Time ran out at a proved gap of {solution.gap:.2%} (of {count(candidates, 'choice')})"
        )
    if solution.gap == math.inf:
        return f"The quickest of {count(candidates, 'choice')}: hardly anything else is in time."
    return f"Chosen among {count(candidates, 'choice')}, proved to {max(solution.gap, 1e-4):.2%}."
