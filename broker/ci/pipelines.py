"""What a pipeline costs at one context: each stage with its part of the choice for all."""

import time
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple, Protocol

from mlbroker.broker.ci.priced import Inputs, PricedJob
from mlbroker.broker.files.job_file import JobFile, PipelineFile
from mlbroker.broker.numbers import load_numpy
from mlbroker.broker.pipeline_words import ways_out
from mlbroker.broker.plan_words import MEASURE_OR_SAY, way_out
from mlbroker.broker.quiet import nothing_on_stdout
from mlbroker.policies.pipeline.planning import (
    ChosenStage,
    NoChoice,
    Planned,
    StageQuery,
    plan_stages,
    stage_job,
)
from mlbroker.policies.planner.plan import PlanRequest
from mlbroker.policies.planner.planner import Planner
from mlbroker.policies.quote import Quote
from mlbroker.profiles.job import Job, StatedTime
from mlbroker.profiles.prediction import Evidence

if TYPE_CHECKING:
    from mlbroker.policies.guardrails.judge import Judge


class Context(Protocol):
    """What is known of jobs' times at one moment, and the policies."""

    def evidence_of(self, job: Job) -> Evidence:
        """What is known of a job."""
        ...

    def judge_of(self, job_path: str) -> "Judge | None":
        """Who judges it."""
        ...


class PricedPipeline(NamedTuple):
    """The plan of a pipeline, or in words why there is none. `deadline_s` is of the whole.

    It keeps what it was worked out from alive, by whose identity it is remembered.
    """

    plan: Planned | None
    problem: str | None
    deadline_s: float | None
    of: tuple[PipelineFile, object]


def price_stage(
    planner: Planner,
    file: JobFile,
    context: Context,
    inputs: Inputs,
    known: dict[tuple[int, int], PricedPipeline],
) -> PricedJob:
    """A stage's part of its pipeline's cost; `known` are the pipelines priced before."""
    pipeline = file.pipeline
    assert pipeline is not None, "a job by itself is priced by itself"
    key = (id(pipeline), id(context))
    if key not in known:
        known[key] = _priced(planner, pipeline, context, file.job.takes)
    priced = known[key]
    chosen = () if priced.plan is None else priced.plan.chosen
    number = next(n for n, s in enumerate(pipeline.stages) if s.job.name == file.job.name)
    quote = _quote(chosen[number], priced.plan) if chosen and priced.plan else None
    return PricedJob(
        quote=quote,
        problem=priced.problem,
        deadline_s=priced.deadline_s,
        runs_per_month=file.job.runs_per_month,
        inputs=inputs,
    )


def _quote(stage: ChosenStage, plan: Planned) -> Quote:
    """The stage's quote with its part of the whole's cost, and the chance of the whole."""
    quote, selection = stage.quote, plan.solution.selection
    assert quote.cost_usd is not None
    assert selection is not None
    cost, added = quote.cost_usd, stage.cost_usd - quote.cost_usd.expected
    saved = added - stage.transfer_usd
    cost = cost._replace(
        expected=stage.cost_usd, p90=cost.p90 + added, compute=cost.compute + saved,
        network=cost.network + stage.transfer_usd,
    )  # fmt: skip
    return quote._replace(cost_usd=cost, deadline_probability=selection.chance)


def _priced(
    planner: Planner, pipeline: PipelineFile, context: Context, takes: StatedTime | None
) -> PricedPipeline:
    load_numpy()
    header, of = pipeline.header, (pipeline, context)
    limits = Job(
        pipeline.name, "", deadline=header.deadline, confidence=header.confidence,
        budget_usd=header.budget_usd, objective=header.objective,
    )  # fmt: skip
    deadline_s = None if header.deadline is None else header.deadline.seconds_from(planner.now)
    if deadline_s is not None and deadline_s <= 0:
        return PricedPipeline(None, "the deadline has passed", deadline_s, of)
    judge = context.judge_of(pipeline.source)
    followed = {before for needs in pipeline.needs for before in needs}
    queries = []
    for number, stage in enumerate(pipeline.stages):
        job = stage_job(stage.job, limits, followed=number in followed)
        if takes is not None and job.takes is None:
            job = replace(job, takes=takes)
        evidence = context.evidence_of(job)
        request = PlanRequest(evidence.job, evidence, judge=judge)
        gb = stage.job.data.output_gb
        queries.append(StageQuery(planner, request, pipeline.needs[number], gb))
    try:
        with nothing_on_stdout():
            plan = plan_stages(queries, limits, deadline_s, time.monotonic)
    except NoChoice as found:
        name = pipeline.stages[found.number].job.name
        why = MEASURE_OR_SAY if found.plan.quotes else way_out(found.plan)
        said = "nobody knows how long" if found.plan.quotes else "no machine does"
        words = f"{said} stage {name}{' takes' if found.plan.quotes else ''}: {why}"
        return PricedPipeline(None, words, deadline_s, of)
    return PricedPipeline(plan, _problem(plan), deadline_s, of)


def _problem(plan: Planned) -> str | None:
    solution = plan.solution
    if solution.selection is not None:
        return None
    ways = "; or ".join(ways_out(solution))
    return f"no choice of machines keeps the pipeline's limits{': ' if ways else ''}{ways}"
