"""`mlbroker profile`: measure a job's step time, and look after what was measured."""

import sys
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from mlbroker.broker.app.sources import job_of
from mlbroker.broker.cli.batch_view import show_measured
from mlbroker.broker.cli.options import Env, JobFile, Json, Nodes, Steps, job_or_name, no_effect
from mlbroker.broker.cli.question import say_expected
from mlbroker.broker.cli.terminal import Live, Terminal, confirm
from mlbroker.broker.errors import InputError, JobFailed
from mlbroker.broker.evidence.capacities import AT_LEAST, FOR, LOW_RPS, RPS
from mlbroker.broker.evidence.store import MeasurementStore, relearn
from mlbroker.broker.files.values import parse_duration_s, parse_money_usd, parse_option
from mlbroker.broker.home import home
from mlbroker.broker.ledger import open_ledger
from mlbroker.broker.measure.document import job_document, measurement_document
from mlbroker.broker.measure.extras import doubts
from mlbroker.broker.measure.noise import noise_words
from mlbroker.broker.measure.tokens import tokens_words
from mlbroker.broker.output import print_json, print_line, print_table, say, warn
from mlbroker.broker.runs.calibration import PastRun, coverage, past_runs
from mlbroker.broker.words import count, figure, span
from mlbroker.pricing.offer import Market
from mlbroker.pricing.vendors import LOCAL
from mlbroker.profiles.job import Job
from mlbroker.profiles.measurement import Measurement, Status
from mlbroker.profiles.tokens import tokens_of

if TYPE_CHECKING:
    from mlbroker.broker.app.profile import ProfileRequest
    from mlbroker.broker.measure.batches import AtBatch


class _MeasureByDefault(TyperGroup):
    """`profile JOB` is `profile measure JOB`."""

    # typer carries its own copy of click, whose types are private.
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = ["measure", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(cls=_MeasureByDefault, no_args_is_help=True)


@app.command("measure")
def measure(
    job: JobFile,
    on: Annotated[
        str | None, typer.Option(help="Where: local (the default), or a node of yours by its name.")
    ] = None,
    nodes: Nodes = None,
    instance_type: Annotated[
        list[str] | None,
        typer.Option(help="Launch this type and measure there (repeatable: all at once)."),
    ] = None,
    auto: Annotated[
        bool, typer.Option("--auto", help="Launch what is worth it, one after the other.")
    ] = False,
    cloud: Annotated[list[str] | None, typer.Option(help="Only launch on this cloud.")] = None,
    region: Annotated[list[str] | None, typer.Option(help="Only launch in this region.")] = None,
    market: Annotated[list[Market] | None, typer.Option(help="Only launch this kind.")] = None,
    stage: Annotated[str | None, typer.Option(help="Which stage of a pipeline.")] = None,
    env: Env = None,
    steps: Steps = None,
    max_time: Annotated[str | None, typer.Option(help="Longest measurement (10m).")] = None,
    max_cost: Annotated[str | None, typer.Option(help="Most it may cost (1 USD).")] = None,
    max_steps: Annotated[int | None, typer.Option(min=1, help="Most steps to run.")] = None,
    scaling: Annotated[
        bool, typer.Option(help="Measure on fewer cores too, to predict machines with more.")
    ] = True,
    batch: Annotated[
        str | None,
        typer.Option(help="Measure at these batches instead: 64,256 (docs/adaptive.md)."),
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Draw the measurement into this file.")] = None,
    remedies: Annotated[
        str | None, typer.Option("--try", help="Prove remedies here: trim,group,bf16,workers=4.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before starting.")] = False,
    json: Json = False,
) -> None:
    """Measure a job's step time; `profile JOB` is short for it.

    How long the whole job takes is predicted from it. The job is started as it is, watched until
    its mean step time is known to 3 % (or a tenth of the work, the time or the money is used up),
    and ended with all its processes. Of a service it is measured how many requests a second a
    replica serves within its objective.

    Exit codes: 0 measured, 2 nothing could be counted, 3 refused by a cap, 100 the job failed.
    """
    launch = {"cloud": cloud, "region": region, "market": market}
    if auto:
        no_effect("with --auto", on=on, html=html, batch=batch)
    elif instance_type:
        no_effect("with --instance-type", on=on, nodes=nodes, batch=batch)
    else:
        no_effect("without --auto or --instance-type", **launch)
    if on in (None, LOCAL) and not auto:
        no_effect("without --auto, or --on and a node's name", nodes=nodes)
    placed = not auto and not instance_type
    told = job_of(job, Terminal(), to_run=True, placed=placed, stage=stage, env=env, steps=steps)
    wanted = _limited(told, max_time, max_cost)
    if remedies is not None:
        no_effect("with --try", on=on, nodes=nodes, auto=auto or None, max_steps=max_steps,
                  instance_type=instance_type, batch=batch, html=html)  # fmt: skip
        _try_out(wanted, job, remedies, yes, json)
        return
    sizes = _batches(batch, wanted, on, html)
    from mlbroker.broker.app.profile import ProfileRequest
    from mlbroker.policies.candidates import Filters
    from mlbroker.profiles.stepping.stopping import StopRule

    where = Filters.of(cloud, region, market, instance_type)
    rule = StopRule(max_steps=max_steps)
    request = ProfileRequest(wanted, job, rule, on, nodes, where, auto, scaling, sizes, html)
    rows = measured(request, yes)
    if json:
        print_json(job_document(wanted, rows))
    else:
        _print_all(wanted, rows, job)
    failed = [row for row in rows if row.status is Status.FAILED]
    if failed:
        raise JobFailed(failed[0].reason or "the job failed", where=failed[0].config)


def _print_all(job: Job, rows: list[Measurement], path: Path) -> None:
    for row in rows:
        _print_result(job, row)
    show_measured(_at_batches(job))
    _say_wastes(job, rows, path)


def _batches(text: str | None, job: Job, on: str | None, html: Path | None) -> tuple[int, ...]:
    if text is None:
        return ()
    from mlbroker.broker.measure.batches import parse_batches

    if on not in (None, LOCAL):
        raise InputError("several batches are measured on this machine only", where="--batch")
    no_effect("with --batch", html=html)
    return parse_batches(text, job)


def _at_batches(job: Job) -> "list[AtBatch]":
    from mlbroker.broker.measure.batches import known_batches

    return known_batches(job, home())


def _try_out(job: Job, path: Path, remedies: str, yes: bool, json: bool) -> None:
    """`--try`: with and without, in turn; exit code 0 whatever is proven."""
    from mlbroker.broker.app.try_out import try_out
    from mlbroker.broker.measure.remedies import arms_of
    from mlbroker.broker.try_document import try_document
    from mlbroker.broker.try_words import trial_lines

    wanted = arms_of(remedies)
    if not yes:
        most_s = job.profile.max_time_s
        question = f"Run {job.name} here again and again, with and without, for {most_s:g} s?"
        confirm(question, "nothing was started", money=False)
    with Live() as live:
        found = try_out(job, path, wanted, home(), live)
    if json:
        print_json(try_document(found.kept, job, found.worth))
        return
    for line in trial_lines(found.kept.trial, job, found.worth, str(path)):
        print_line(line)


def _say_wastes(job: Job, rows: list[Measurement], path: Path) -> None:
    """One line: the greatest waste, and who tells the rest."""
    from mlbroker.broker.advice_words import waste_words
    from mlbroker.policies.advice.steps import wastes

    found = wastes(job, rows, None)
    if found:
        print_line(f"{waste_words(found[0], job)} What it costs: mlbroker advise {path}")


def measured(request: "ProfileRequest", yes: bool) -> list[Measurement]:
    """Ask, then measure while a person watches."""
    from mlbroker.broker.app.profile import prepare

    prepared = prepare(request, home(), Terminal())
    for option, quote in prepared.expected:
        say_expected(request.job.name, option, quote)
    if not yes:
        confirm(prepared.question, "nothing was started", money=prepared.costs_money)
    with Live() as live:
        return prepared.measure(live)


@app.command("show")
def show(
    job: Annotated[str, typer.Argument(help="Job file, or the name of a measured job.")],
    json: Json = False,
) -> None:
    """Show what was measured for a job, and the duration it predicts."""
    wanted = job_or_name(job)
    store = MeasurementStore(home())
    rows = store.for_job(wanted) if Path(job).exists() else store.named(job)
    outdated = store.outdated(wanted) if Path(job).exists() else []
    runs = past_runs(open_ledger(home()).runs(), wanted.name)
    if json:
        told = [run.document() for run in runs]
        document = job_document(wanted, rows, outdated)
        batches = [row.document() for row in _at_batches(wanted)] if Path(job).exists() else []
        more = {"runs": told, "interval80_coverage": coverage(runs), "batches": batches}
        print_json(document | more)
        return
    for item in outdated:
        warn(
            f"{item.measurement.config} of {_date(item.measurement.measured_at)} no longer "
            f"applies: {'; '.join(item.reasons)}"
        )
    if not rows:
        raise InputError(
            "nothing is measured for this job",
            where=job,
            hint=(
                f"measure it: mlbroker profile {job}"
                if Path(job).exists()
                else "`mlbroker profile list` shows all that is"
            ),
        )
    _print_rows(rows)
    for row in rows:
        if row.version is not None:
            print_line(f"{row.config} of {_date(row.measured_at)}: measured {row.version}")
        for doubt in doubts(row.extra) if row.status is Status.OK else ():
            warn(f"{row.config} of {_date(row.measured_at)}: {doubt}")
        _print_result(wanted, row)
    if Path(job).exists():
        show_measured(_at_batches(wanted))
    if runs:
        _print_runs(runs)


@app.command("list")
def list_all(json: Json = False) -> None:
    """List all measurements."""
    rows = MeasurementStore(home()).all()
    if json:
        print_json(
            {
                "schema": "mlbroker.measurements/1",
                "measurements": [measurement_document(row) for row in rows],
            }
        )
    elif rows:
        _print_rows(rows)
    else:
        say("Nothing is measured yet: mlbroker profile JOB, or mlbroker profile import FILE")


@app.command("import")
def import_table(
    file: Annotated[Path, typer.Argument(help="Measurements table: .csv, .csv.gz or .parquet.")],
) -> None:
    """Take over a table of measured run times (docs/measurements.md)."""
    from mlbroker.broker.measure.table import read_measurements

    rows = read_measurements(file)
    new = MeasurementStore(home()).add(rows)
    relearn(home())
    known = f" ({len(rows) - new:,} were known)" if new < len(rows) else ""
    jobs = len({row.job for row in rows})
    say(f"Imported {count(new, 'measurement')}{known} of {count(jobs, 'job')}.")


@app.command("export")
def export(
    job: Annotated[str | None, typer.Argument(help="Only the job of this name.")] = None,
) -> None:
    """Write all measurements to stdout, for `profile import`."""
    from mlbroker.broker.measure.table import write_measurements

    store = MeasurementStore(home())
    write_measurements(store.all() if job is None else store.named(job), sys.stdout)


@app.command("forget")
def forget(
    job: Annotated[str, typer.Argument(help="Name of the job.")],
    config: Annotated[str | None, typer.Option(help="Only on this configuration.")] = None,
) -> None:
    """Drop the measurements of a job."""
    dropped = MeasurementStore(home()).forget(job, config=config)
    if not dropped:
        raise InputError("nothing is measured under this name", where=job)
    relearn(home())
    say(f"Dropped {count(dropped, 'measurement')}.")


def _limited(job: Job, max_time: str | None, max_cost: str | None) -> Job:
    time_s = parse_option("--max-time", max_time, parse_duration_s)
    cost_usd = parse_option("--max-cost", max_cost, parse_money_usd)
    limits = replace(
        job.profile,
        max_time_s=time_s or job.profile.max_time_s,
        max_cost_usd=cost_usd or job.profile.max_cost_usd,
    )
    return replace(job, profile=limits)


def _date(moment: datetime | None) -> str:
    return "unknown date" if moment is None else f"{moment:%Y-%m-%d %H:%M}"


def _print_rows(rows: list[Measurement]) -> None:
    print_table(
        ["job", "config", "time_s", "steps", "status", "measured"],
        [
            [
                row.job,
                row.config,
                figure(row.time_s),
                "" if row.steps is None else f"{row.steps:,}",
                row.status,
                _date(row.measured_at) if row.measured_at else "imported",
            ]
            for row in rows
        ],
        right=("time_s", "steps"),
    )


def _print_runs(runs: list[PastRun]) -> None:
    """What was believed before each, and what came."""
    rows = []
    for run in runs:
        known = run.predicted
        between = "" if known is None else f"{span(known.p10_s)} to {span(known.p90_s)}"
        predicted = "nothing known" if known is None else span(known.p50_s)
        rows.append([run.run_id, run.instance_type, predicted, between, span(run.took_s)])
    columns = ["run", "on", "predicted", "80 %", "took"]
    print_table(columns, rows, right=("predicted", "80 %", "took"))
    told = [run.inside for run in runs if run.inside is not None]
    if told:
        print_line(f"{sum(told)} of {count(len(told), 'run')} took as long as predicted at 80 %.")


def _print_result(job: Job, row: Measurement) -> None:
    if row.status is Status.STOPPED:
        print_line(f"{row.config}: longer than {span(row.time_s)} ({row.reason})")
    if row.status is not Status.OK:
        return
    if (rps := row.extra.get(RPS)) is not None:
        capped = AT_LEAST in row.extra
        least = "at least " if capped else ""
        surely = "" if capped else f" ({float(row.extra[LOW_RPS]):.4g} with 90 %)"
        print_line(
            f"{row.config}: {least}{float(rps):.4g} requests a second{surely} at {row.extra[FOR]}"
        )
        return
    document: dict[str, Any] = measurement_document(row, job)
    step, whole = document["step_time_s"], document["duration_s"]
    if step is not None:
        at = "" if whole is not None else f", batch {row.batch_size}"
        print_line(
            f"{row.config}{at}: {figure(step['p50'])} s per step (80 %: {figure(step['p10'])} to "
            f"{figure(step['p90'])})"
        )
    if whole is not None:
        print_line(
            f"The whole job: {span(whole['p50'])} (80 %: {span(whole['p10'])} to"
            f" {span(whole['p90'])})"
        )
    if whole is not None and document["steps"] is not None:
        print_line(f"It has {document['steps']:,} steps, {document['steps_by']}.")
    # Of other batches a table says what they are worth.
    most = None if job.batch is None else job.batch.most
    noise = noise_words(row, most) if whole is not None else None
    for said in (tokens_words(row, tokens_of(row.extra)), noise):
        if said:
            print_line(said)
