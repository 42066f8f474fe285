"""Prices a job at one moment: its choice, and what stands in the way of one."""

from typing import TYPE_CHECKING

from mlbroker.broker.ci.context import PricingContext
from mlbroker.broker.ci.priced import PricedJob
from mlbroker.broker.files.job_file import JobFile
from mlbroker.policies.planner.plan import Plan, PlanRequest
from mlbroker.policies.planner.planner import Planner
from mlbroker.policies.quote import Quote

if TYPE_CHECKING:
    from mlbroker.policies.guardrails.judge import Judge


class Pricer:
    """Prices jobs with one book, as if they were all planned at the same time."""

    def __init__(self, planner: Planner) -> None:
        self.book = planner.book
        self._planner = planner

    def price(self, file: JobFile, context: PricingContext) -> PricedJob:
        """What the job costs where it is cheapest in time, or what would have to change."""
        job = file.job
        evidence = context.known.of(job)
        inputs = context.inputs(file, evidence)
        judge = context.policies.judge(file.source)
        request = PlanRequest(job, evidence, judge=judge)
        forbidden = None
        (choice,) = self._planner.many([request])
        if choice.quote is None and judge is not None:
            (choice,) = self._planner.many([request._replace(judge=None)])
            if choice.quote is not None:
                forbidden = self._rule_broken(judge, choice.quote)
        return PricedJob(
            quote=choice.quote,
            problem=None if choice.plan is None or choice.quote else _problem(choice.plan),
            deadline_s=choice.deadline_s,
            runs_per_month=job.runs_per_month,
            inputs=inputs,
            forbidden=forbidden,
        )

    def _rule_broken(self, judge: "Judge", quote: Quote) -> str:
        """Which rule forbids even the choice that would be made without the policy."""
        from mlbroker.policies.guardrails.interface import Subject

        kinds = {(kind.cloud, kind.name): kind for _, _, kind in self.book.types()}
        hit = judge.machine(Subject.of_quote(quote, kinds[quote.cloud, quote.instance_type]))
        return "no allowed machine does" if hit is None else str(hit)


def _problem(plan: Plan) -> str:
    from mlbroker.broker.plan_words import deadline_has_passed, way_out

    if plan.constraints.deadline_has_passed:
        return str(deadline_has_passed())
    ways = way_out(plan)
    return "no machine meets its needs, deadline and budget" + (f": {ways}" if ways else "")
