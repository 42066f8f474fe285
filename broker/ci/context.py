"""What holds for jobs at one moment (measurements and the policy), and what they cost under it."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from mlbroker.broker.ci.priced import Inputs, PricedJob, digest_of, measurements_digest
from mlbroker.broker.evidence.batches import chosen_batches, of_own_batch
from mlbroker.broker.evidence.store import MeasurementStore, learnt
from mlbroker.broker.files.job_file import JobFile
from mlbroker.broker.files.yaml_strict import decode
from mlbroker.broker.home import POLICY_NAME
from mlbroker.policies.planner.node_counts import at_counts, best_count
from mlbroker.policies.planner.plan import Plan, PlanRequest
from mlbroker.policies.planner.planner import Planner
from mlbroker.policies.quote import Quote
from mlbroker.policies.tuning.size import StudySize
from mlbroker.pricing.offer import InstanceType
from mlbroker.profiles.estimators.measured import in_steps, least_doubt
from mlbroker.profiles.job import Job
from mlbroker.profiles.measurement import Measurement
from mlbroker.profiles.prediction import Evidence

if TYPE_CHECKING:
    from mlbroker.broker.ci.pipelines import PricedPipeline
    from mlbroker.policies.guardrails.judge import Judge, Policy


class KnownTimes:
    """What is known of jobs' step times: the store, and a table if one is given."""

    def __init__(self, store: MeasurementStore, table: Sequence[Measurement] = ()) -> None:
        self._store = store
        self._stored = store.all()
        self._table = table
        self._fitted: Mapping[str, float] | None = None
        # Jobs without measurements share this very list, by which planning knows them as alike.
        self._all = [*self._stored, *table]
        self._digest = measurements_digest(self._all)
        self._names = {row.job for row in self._all}
        self._fingerprints = {row.fingerprint for row in self._stored} - {None}

    def of(self, job: Job) -> Evidence:
        """The job's own measurements, and those of others. What never ends has no duration."""
        if job.replicas is not None:
            return Evidence(job.without_duration(), (), self._all)
        if job.name not in self._names and job.fingerprint() not in self._fingerprints:
            return Evidence(job, (), self._all)
        mine = [row for row in self._table if row.job == job.name]
        own = self._store.for_job(job) + of_own_batch(job, mine)
        if not own:
            return Evidence(job, (), self._all)
        own = in_steps(job, own)
        others = self._store.history(job) + [row for row in self._table if row.job != job.name]
        if self._fitted is None:
            self._fitted = learnt(self._store.home)
        batches = chosen_batches(job, self._store, mine)
        return Evidence(job, own, others, self._fitted, batches=batches)

    def digest(self, evidence: Evidence) -> str:
        """Equal when a prediction for the job rests on equal measurements."""
        batches = evidence.batches.rows if evidence.batches is not None else ()
        rows = [*evidence.measurements, *batches]
        return digest_of(measurements_digest(rows), self._digest)

    def changed(self, job: Job) -> str | None:
        """What has changed of the job since all that was measured of it, in words."""
        if job.name not in self._names:
            return None
        own = self._store.for_job(job)
        if own:
            return None if least_doubt(own) == 0 else f"measured {own[-1].version}"
        outdated = self._store.outdated(job)
        reasons = ", ".join(outdated[-1].reasons) if outdated else ""
        return f"what was measured was another job, {reasons}" if outdated else None


class PolicyFiles:
    """The policy file that guards each job: the nearest upward from it.

    `read` gives the content of a path inside the repository, None for none. `option` is the file
    of `--policy`, which then guards all jobs; `outside` one above the repository, which guards
    those that nothing inside does.
    """

    def __init__(
        self,
        read: Callable[[str], bytes | None],
        root: Path,
        *,
        option: str | None = None,
        outside: str | None = None,
    ) -> None:
        self._read = read
        self._root = root
        self._option = option
        self._outside = outside
        self._paths: dict[PurePosixPath, str | None] = {}
        self._loaded: dict[str, tuple[Policy, str]] = {}

    def judge(self, job_path: str) -> "Judge | None":
        """Who judges a job, None where no policy file guards it."""
        path = self._path(PurePosixPath(job_path).parent)
        if path is None:
            return None
        from mlbroker.broker.runs.launch import current_project, current_user
        from mlbroker.policies.guardrails.interface import Who
        from mlbroker.policies.guardrails.judge import Judge

        who = Who(current_user(), current_project(self._root / job_path, None))
        return Judge(self._policy(path)[0], who, None)

    def digest(self, job_path: str) -> str:
        """Equal when the same policy holds."""
        path = self._path(PurePosixPath(job_path).parent)
        return "none" if path is None else self._policy(path)[1]

    def _path(self, folder: PurePosixPath) -> str | None:
        if self._option is not None:
            return self._option if self._read(self._option) is not None else None
        if folder not in self._paths:
            path = str(folder / POLICY_NAME)
            if self._read(path) is not None:
                self._paths[folder] = path
            elif folder == folder.parent:
                self._paths[folder] = self._outside
            else:
                self._paths[folder] = self._path(folder.parent)
        return self._paths[folder]

    def _policy(self, path: str) -> tuple["Policy", str]:
        if path not in self._loaded:
            from mlbroker.broker.files.policy_file import parse_policy

            content = self._read(path) or b""
            policy = parse_policy(decode(content, path), path)
            self._loaded[path] = policy, digest_of(content.hex())
        return self._loaded[path]


class PricingContext(NamedTuple):
    """The measurements and the policies of one moment."""

    known: KnownTimes
    policies: PolicyFiles

    def evidence_of(self, job: Job) -> Evidence:
        """What is known of a job."""
        return self.known.of(job)

    def judge_of(self, job_path: str) -> "Judge | None":
        """Who judges it."""
        return self.policies.judge(job_path)

    def inputs(self, file: JobFile, evidence: Evidence | None = None) -> Inputs:
        """Digests of all that the price of a job rests on, but for the book."""
        # What flags say of the job is in no value of its file.
        job = file.job
        set_here = {k: v for k, v in job.envs.items() if file.values.get(f"envs.{k}") != v}
        said = [*(job.takes or ()), *([set_here] if set_here else [])]
        if file.pipeline is not None:
            # One choice is made for all stages.
            said += [sorted(stage.values.items()) for stage in file.pipeline.stages]
        return Inputs(
            job=digest_of(job.name, dict(file.values), *said),
            measurements=self.known.digest(evidence or self.known.of(job)),
            policy=self.policies.digest(file.source),
        )


class Pricer:
    """Prices jobs with one book, as if they were all planned at the same time."""

    def __init__(self, planner: Planner) -> None:
        self.book = planner.book
        self._planner = planner
        self._pipelines: dict[tuple[int, int], PricedPipeline] = {}  # by pipeline and context

    def price(self, file: JobFile, context: PricingContext) -> PricedJob:
        """What the job costs where it is cheapest in time, or what would have to change."""
        judge = context.policies.judge(file.source)
        job = self._on_best_count(file.job, context, judge)
        evidence = context.known.of(job)
        inputs = context.inputs(file, evidence)
        if file.pipeline is not None:
            from mlbroker.broker.ci.pipelines import price_stage

            return price_stage(self._planner, file, context, inputs, self._pipelines)
        request = PlanRequest(evidence.job, evidence, judge=judge)
        forbidden = None
        (choice,) = self._planner.many([request])
        if choice.quote is None and judge is not None:
            (choice,) = self._planner.many([request._replace(judge=None)])
            if choice.quote is not None:
                forbidden = self._rule_broken(judge, choice.quote)
        return PricedJob(
            quote=choice.quote,
            problem=_unpaid(job, choice.quote) if choice.quote else _problem(choice.plan),
            deadline_s=choice.deadline_s,
            runs_per_month=job.runs_per_month,
            inputs=inputs,
            forbidden=forbidden,
            unjudged=self._unjudged(judge, choice.quote),
            replicas=job.replicas,
            study=None if job.study is None else StudySize.of(job.study, job.budget_usd),
        )

    def _on_best_count(self, job: Job, context: PricingContext, judge: "Judge | None") -> Job:
        """On as many machines as `mlbroker plan` chooses."""
        if len(job.node_counts) < 2:
            return job
        known = [context.known.of(job.on_nodes(nodes)) for nodes in job.node_counts]
        requests = [PlanRequest(evidence.job, evidence, judge=judge) for evidence in known]
        return job.on_nodes(best_count(at_counts(self._planner, requests), job.num_nodes))

    def _unjudged(self, judge: "Judge | None", quote: Quote | None) -> tuple[str, ...]:
        if judge is None or quote is None or quote.cost_usd is not None:
            return ()
        from mlbroker.policies.guardrails.interface import Subject

        return tuple(judge.unjudged(Subject.of_quote(quote, self._kind(quote))))

    def _kind(self, quote: Quote) -> InstanceType:
        kinds = (kind for _, _, kind in self.book.types() if kind.name == quote.instance_type)
        return next(kind for kind in kinds if kind.cloud == quote.cloud)

    def _rule_broken(self, judge: "Judge", quote: Quote) -> str:
        """Which rule forbids even the choice that would be made without the policy."""
        from mlbroker.policies.guardrails.interface import Subject

        hit = judge.machine(Subject.of_quote(quote, self._kind(quote)))
        return "no allowed machine does" if hit is None else str(hit)


def _unpaid(job: Job, quote: Quote) -> str | None:
    """Of a service whose budget does not pay for the fewest replicas."""
    if job.replicas is None:
        return None
    from mlbroker.broker.service_words import too_little_budget

    refused = too_little_budget(job, job.replicas, quote.hourly_usd, "")
    return None if refused is None else f"{refused.what}: {refused.hint}"


def _problem(plan: Plan | None) -> str | None:
    if plan is None:
        return None
    from mlbroker.broker.plan_words import deadline_has_passed, way_out

    if plan.constraints.deadline_has_passed:
        return str(deadline_has_passed())
    ways = way_out(plan)
    return "no machine meets its needs, deadline and budget" + (f": {ways}" if ways else "")


def table_from(content: bytes, name: str) -> list[Measurement]:
    """The measurements of a table that is not a file of its own here."""
    from mlbroker.broker.measure.table import read_measurements

    with tempfile.TemporaryDirectory(prefix="mlbroker-") as folder:
        path = Path(folder) / Path(name).name
        path.write_bytes(content)
        return read_measurements(path, report=lambda _: None)
