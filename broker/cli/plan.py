"""`mlbroker plan`: read the job, make the plan, show it."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlbroker.broker.app.plan import Planned, PlanQuery
from mlbroker.broker.app.plan import plan as make
from mlbroker.broker.app.sources import Sources, job_of, limit_place
from mlbroker.broker.cli import options
from mlbroker.broker.cli.new_file import write_file
from mlbroker.broker.cli.options import no_effect
from mlbroker.broker.cli.terminal import Terminal
from mlbroker.broker.errors import InputError
from mlbroker.broker.files.env_flags import parse_env
from mlbroker.broker.files.job_file import PipelineFile
from mlbroker.broker.files.pipeline_file import load_pipeline
from mlbroker.broker.home import home
from mlbroker.broker.numbers import load_numpy
from mlbroker.broker.output import print_json, print_line, say
from mlbroker.broker.plan_words import nothing_chosen
from mlbroker.broker.words import exact_usd
from mlbroker.policies.candidates import Filters
from mlbroker.pricing.vendors import vendor

if TYPE_CHECKING:
    from mlbroker.policies.quote import Quote
    from mlbroker.policies.when import When

EVERYTHING = "*"


def command(
    job: Annotated[
        Path, typer.Argument(help="Job file (a SkyPilot task, with broker: if you like).")
    ],
    env: options.Env = None,
    deadline: options.Deadline = None,
    budget: Annotated[str | None, typer.Option(help="Most the run may cost, in USD.")] = None,
    confidence: Annotated[str | None, typer.Option(help="Chance a quote must reach (0.9).")] = None,
    objective: Annotated[
        str | None, typer.Option(help="cost, time, carbon, or 0.1/kg (USD per kg CO2e).")
    ] = None,
    steps: options.Steps = None,
    epochs: Annotated[int | None, typer.Option(help="The whole work, in epochs.")] = None,
    steps_per_epoch: Annotated[int | None, typer.Option(help="With --epochs.")] = None,
    takes: options.Takes = None,
    cloud: options.Cloud = None,
    region: options.Region = None,
    market: options.MarketOption = None,
    spot_policy: options.SpotPolicy = None,
    instance_type: options.InstanceType = None,
    measure: options.Measure = None,
    prices: options.Prices = None,
    policy: options.Policy = None,
    reason: Annotated[
        str | None, typer.Option(help="Why a GPU, where the policy wants a reason.")
    ] = None,
    nodes: Annotated[
        Path | None, typer.Option(help="Your own machines (else MLBROKER_NODES or nodes.yaml).")
    ] = None,
    top: Annotated[int, typer.Option(min=0, help="Quotes to show; 0 shows all.")] = 10,
    explain: Annotated[
        str | None,
        typer.Option(
            metavar="[TYPE]", help="Say why every other machine, or TYPE, was not picked."
        ),
    ] = None,
    when: options.When = False,
    intensity: options.Intensity = None,
    embodied: options.EmbodiedCarbon = False,
    html: options.Html = None,
    json: options.Json = False,
) -> None:
    """Name the cheapest machine that meets the deadline, and why.

    Exit codes: 0 a machine was chosen, 2 bad input, 4 nothing feasible (what would have to
    change is said, and --json still prints the document).
    """
    if not when:
        no_effect("without --when", intensity=intensity)
    filters = Filters.of(cloud, region, market, instance_type)
    sources = Sources(measure, prices, nodes, policy, reason)
    limits: dict[str, Any] = {"deadline": deadline, "budget": budget}
    limits |= {"confidence": confidence, "objective": objective}
    work: dict[str, Any] = {"steps": steps, "epochs": epochs}
    work |= {"steps_per_epoch": steps_per_epoch, "takes": takes}
    pipeline = load_pipeline(job, parse_env(env))
    if pipeline is not None:
        given = {"when": when, "embodied": embodied, "spot_policy": spot_policy}
        no_effect("on a pipeline", **work, **given)
        _plan_pipeline(pipeline, job, limits, filters, sources, explain, html, json=json)
        return
    terminal = Terminal()
    wanted = job_of(job, terminal, env=env, spot_policy=spot_policy, **limits, **work)
    query = PlanQuery(
        wanted,
        job,
        filters,
        sources,
        top,
        explain is not None,
        None if explain == EVERYTHING else explain,
        embodied,
    )
    planned = make(query, home(), terminal) if html is None else _with_page(query, html, terminal)
    starts = _starts(planned, intensity, terminal) if when else None
    (_print if json else _show)(planned, query, starts)
    if planned.plan.choice is None:
        raise nothing_chosen(planned.plan, where=limit_place(planned.plan, query.job_path))
    if planned.plan.job.replicas is not None:
        _refuse_hopeless(planned, query)


def _refuse_hopeless(planned: Planned, query: PlanQuery) -> None:
    """A service that its budget does not pay for, or that no machine serves."""
    from mlbroker.broker.service_words import too_little_budget, unmet

    job, choice, where = planned.plan.job, planned.plan.choice, str(query.job_path)
    assert choice is not None
    assert job.replicas is not None
    refused = unmet(planned.chosen, where) or too_little_budget(
        job, job.replicas, choice.hourly_usd, where
    )
    if refused is not None:
        raise refused


def _plan_pipeline(
    file: PipelineFile,
    path: Path,
    limits: dict[str, Any],
    filters: Filters,
    sources: Sources,
    explain: str | None,
    html: Path | None,
    *,
    json: bool,
) -> None:
    from mlbroker.broker.app.pipeline_stages import PipelineQuery, limits_of
    from mlbroker.broker.cli.pipeline_plan import show

    if explain not in (None, EVERYTHING):
        hint = "leave the type out: every stage's next choices are told"
        raise InputError("names a type, and this is a pipeline", where="--explain", hint=hint)
    whole = limits_of(file, **limits)
    query = PipelineQuery(file, path, whole, filters, sources, explain is not None)
    show(query, html, json=json)


def _starts(planned: Planned, files: list[str] | None, terminal: Terminal) -> "When | None":
    if not files:
        raise InputError(
            "needs a series of carbon intensity", where="--when", hint="--intensity FILE"
        )
    load_numpy()
    from mlbroker.broker.app.when import when

    return when(planned, files, terminal)


def _with_page(query: PlanQuery, file: Path, terminal: Terminal) -> Planned:
    """The plan, and the page about it written, which shows all that the plan leaves out."""
    from mlbroker.broker.report.plan_page import plan_page

    whole = make(query._replace(top=0, explain=True), home(), terminal)
    write_file(file, plan_page(whole.plan, whole.book, embodied=whole.embodied), force=True)
    top = None if query.type_name else query.top or None
    rejected = whole.plan.rejected if query.explain else ()
    return whole._replace(
        plan=replace(whole.plan, quotes=whole.plan.quotes[:top], rejected=rejected)
    )


def _print(planned: Planned, query: PlanQuery, starts: "When | None") -> None:
    from mlbroker.broker.plan_document import plan_document

    document = plan_document(
        planned.plan,
        explain=query.explain,
        when=starts,
        embodied=planned.embodied,
        measured=planned.measured,
        chosen=planned.chosen,
    )
    if planned.counts:
        from mlbroker.broker.plan_document import counts_document

        document["node_counts"] = counts_document(planned.counts)
    if planned.batches is not None:
        from mlbroker.broker.plan_document import batch_advice_document

        if planned.batches.measured:
            document["batches"] = [row.document() for row in planned.batches.measured]
        free = planned.batches.free
        if free is not None and free.choice is not None:
            choice = planned.plan.choice
            document["batch_advice"] = batch_advice_document(choice, free.choice)
    print_json(document)


def _show(planned: Planned, query: PlanQuery, starts: "When | None") -> None:
    from mlbroker.broker.cli import plan_view
    from mlbroker.broker.prices.shortages import lately
    from mlbroker.broker.prices.terms import own_currency

    plan = planned.plan
    if query.type_name is not None:
        plan_view.show_type(plan, query.type_name, planned.embodied)
    else:
        currency = own_currency(home())
        plan_view.show(plan, explain=query.explain, currency=currency, embodied=planned.embodied)
        plan_view.show_short_zones(plan, lately(home(), plan.generated_at))
        plan_view.show_next_probe(plan, planned.book, planned.evidence)
        _show_advice(planned)
        if planned.counts:
            from mlbroker.broker.cli.node_counts_view import show_counts

            show_counts(planned.counts, plan.job)
        if planned.chosen is not None:
            from mlbroker.broker.cli.service_view import show_fleets

            show_fleets(planned.chosen, plan.job, explain=query.explain)
        if planned.batches is not None:
            from mlbroker.broker.cli.batch_view import show_batches

            show_batches(plan, planned.batches, explain=query.explain)
        if planned.more_gpus:
            from mlbroker.broker.batch_words import more_gpus_words

            print_line(more_gpus_words(planned.more_gpus))
    if starts is not None:
        from mlbroker.broker.cli.when_view import show_when

        show_when(starts, plan)
    if plan.choice is not None and vendor(plan.choice.cloud).own:
        _say_others(plan.choice)


def _show_advice(planned: Planned) -> None:
    """One line, where the job asks for a GPU and would do without."""
    if not planned.plan.job.may_use_gpu or planned.plan.choice is None:
        return
    from mlbroker.broker.advice_words import without_gpu_words
    from mlbroker.broker.app.advise import machines_of
    from mlbroker.policies.advice.machines import Verdict

    found = machines_of(planned, home())
    if found is not None and found.verdict is Verdict.ENOUGH:
        limit_s = planned.plan.constraints.deadline_s
        print_line(without_gpu_words(found, planned.plan.job, limit_s))


def _say_others(choice: "Quote") -> None:
    """A machine of one's own has another cost, where others wait for it."""
    from mlbroker.broker.app.queue import others_usd_per_h

    usd = others_usd_per_h(home(), choice.cloud, choice.instance_type)
    if usd:
        say(
            f"An hour on {choice.instance_type} costs those who wait for it {exact_usd(usd)} USD, "
            f"beside its price: mlbroker queue"
        )
