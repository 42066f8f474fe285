"""`mlbroker plan` of a pipeline: its stages in a table, and what their choices do to the whole."""

from pathlib import Path

from mlbroker.broker.app.pipeline import PlannedPipeline, nothing_feasible, plan_pipeline
from mlbroker.broker.app.pipeline_stages import PipelineQuery
from mlbroker.broker.cli.new_file import write_file
from mlbroker.broker.cli.terminal import Terminal
from mlbroker.broker.files.job_file import PipelineFile
from mlbroker.broker.home import home
from mlbroker.broker.output import print_json, print_line, print_table
from mlbroker.broker.pipeline_words import proof_words, title, total_words, traffic_words, usd
from mlbroker.broker.words import duration, money
from mlbroker.policies.pipeline.explain import Alternative
from mlbroker.policies.pipeline.planning import Planned

COLUMNS = ("stage", "cloud", "region", "machine", "market", "starts", "takes", "USD", "slack", "on")
RIGHT = ("starts", "takes", "USD", "slack")
# Left out on a narrow terminal, in this order.
SPARE = (9, 4, 2)
CHOICES = ("stage", "instead", "machine", "region", "total USD", "change", "total time", "in time")


def show(query: PipelineQuery, html: Path | None = None, *, json: bool) -> None:
    """Make the plan and print it, with a page of it in the file `html`; raises what it fails with
    after that.
    """
    terminal = Terminal()
    tell_of(query.file, terminal)
    made = plan_pipeline(query, home(), terminal)
    if html is not None:
        from mlbroker.broker.report.pipeline_page import pipeline_page

        text = pipeline_page(query.limits, made.plan, made.generated_at, made.snapshot)
        write_file(html, text, force=True)
    if json:
        from mlbroker.broker.app.pipeline_document import pipeline_document

        print_json(pipeline_document(made))
    else:
        _show(made)
    if made.plan.solution.selection is None:
        raise nothing_feasible(made)


def tell_of(pipeline: PipelineFile, terminal: Terminal, *, to_run: bool = False) -> None:
    """How the stages were read, and what keeps each from a run, where that is not refused soon."""
    not_run = [] if to_run else list(pipeline.header.not_run)
    for file in pipeline.stages:
        job = file.job
        if job.ignored:
            ignored = ", ".join(job.ignored)
            terminal.note(f"{job.name}: ignored, as mlbroker has no use for it: {ignored}")
        for sentence in job.said:
            terminal.note(f"{job.name}: {sentence}")
        not_run += [] if to_run else [f"{job.name}: {reason}" for reason in job.not_run]
    if not_run:
        terminal.note(f"For a plan only; a run would be refused: {'; '.join(not_run)}.")


def _show(made: PlannedPipeline) -> None:
    print_line(title(made.query.limits, made.plan))
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
    print_line(total_words(made.query.limits, plan))
    for line in traffic_words(plan):
        print_line(line)
    if made.choices:
        _explain(made)
    print_line(proof_words(plan))


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
        heading = (
            "The next cheaper and the next faster choice of each stage, the others as they are"
        )
        print_table(CHOICES, rows, title=heading, right=CHOICES[4:], spare=(3,))
    print_line("")


def _other(plan: Planned, number: int, other: Alternative) -> tuple[str, ...]:
    selection = plan.solution.selection
    assert selection is not None
    quote, whole = plan.quotes[number][other.option], other.whole
    change = whole.cost_usd - selection.cost_usd
    chance = "" if whole.chance is None else f"{min(whole.chance, 0.999):.1%}"
    return (
        quote.instance_type, quote.region, usd(whole.cost_usd),
        f"{'+' if change > 0 else ''}{usd(change)}", duration(whole.duration_s), chance,
    )  # fmt: skip
