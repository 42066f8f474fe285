"""Measures how many requests a second a replica of a service serves: here, or on machines that are
launched for it. The load is made beside the service, on its machine, each time."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from threading import Event
from typing import Any, NamedTuple

from mlbroker.broker.errors import CloudError, InputError, JobFailed, MlbrokerError, NothingFeasible
from mlbroker.broker.evidence import facts
from mlbroker.broker.evidence.capacities import AT_LEAST, FOR, LOW_RPS, RPS, TOKENS
from mlbroker.broker.evidence.hardware import this_machine
from mlbroker.broker.files.yaml_strict import quoted
from mlbroker.broker.measure.agent_link import LOADS, AgentLink, start_here
from mlbroker.broker.measure.carried import Payer, Place
from mlbroker.broker.measure.result import MeasuredOn
from mlbroker.broker.runs.launch import secret_values
from mlbroker.pricing.vendors import LOCAL
from mlbroker.profiles.capacity import Z90, Capacity
from mlbroker.profiles.job import Job
from mlbroker.profiles.measurement import Measurement
from mlbroker.profiles.service import Measure, SampleRequest, ServiceObjective, objective_key

# Of a measurement so much is for the windows: the rest is start, settling and end.
LONGEST_S = 150.0
GRACE_S = 2.0
# Answers are given up after so many times the objective, within these bounds in seconds.
GIVE_UP = 4.0
GIVE_UP_S = {True: (2.0, 60.0), False: (30.0, 120.0)}
MOST_BODIES = 10_000
MOST_BODY_BYTES = 16 << 20
WHAT_IS_CHECKED = (
    "an answer counts as served when its status is 2xx (redirects are not followed, 429 is not"
    " served), it ends, and it is no JSON object, nor an event of a stream, with an `error` in it"
)


def sample_bodies(request: SampleRequest, folder: Path) -> list[str]:
    """The bodies to send, one JSON value a line; empty where the request has none."""
    if request.body is None:
        return []
    path = folder / request.body
    try:
        if path.stat().st_size > MOST_BODY_BYTES:
            raise InputError("is larger than 16 MiB: a sample will do", where=str(path))
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise InputError("is not text in UTF-8", where=str(path)) from None
    except OSError as error:
        hint = "`broker: service: request: body:` names it, beside the job file"
        raise InputError(f"cannot be read: {error.strerror}", where=str(path), hint=hint) from None
    bodies = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            json.loads(line)
        except ValueError:
            hint = "each line is the body of one request, as JSON"
            raise InputError("is not JSON", where=f"{path}:{number}", hint=hint) from None
        bodies.append(line)
    if not bodies:
        raise InputError("holds no request", where=str(path))
    return bodies[:MOST_BODIES]


class Report(NamedTuple):
    """What a service was heard to serve. Making the load took so many of its machine's cores."""

    found: Capacity
    ready_s: float
    tokens: float | None
    load_cores: float


class CapacityOf:
    """A job's service and the requests it is asked; InputError for what its file does not say."""

    def __init__(self, job: Job, bodies: Sequence[str], note: Callable[[str], None]) -> None:
        self._job, self._bodies, self._note = job, bodies, note
        self._objective, self._request, self._port = _told(job)
        self._known = facts.of(job, measured=True)
        if self._objective.measure is Measure.TPOT:
            note("tpot is read off the events of the stream: one event is taken for one token.")

    def here(self) -> Measurement:
        """Start the service on this machine, load it until its capacity is known, and end it.

        JobFailed for a service that does not get ready, NothingFeasible where the objective is not
        met at the lowest rate.
        """
        spec = self._spec(None) | {"control": True}
        spec["env"] |= secret_values(self._job)
        link = start_here(spec, LOADS)
        try:
            report = self._heard(link, self._note)
        finally:
            link.close()
        return self._row(report, MeasuredOn(this_machine(), LOCAL))

    def launched(
        self, payer: Payer, places: Sequence[Place]
    ) -> list[tuple[Measurement, Decimal] | MlbrokerError]:
        """The same on a machine of each of `places`, and what each cost (see `Payer`)."""

        def one(place: Place, cap_usd: Decimal, interrupted: Event) -> tuple[Measurement, Decimal]:
            done = payer.on_one(
                place, cap_usd, interrupted, LOADS, self._spec,
                lambda link, at: self._heard(
                    link, lambda text: self._note(f"{at.instance_type}: {text}")
                ),
            )  # fmt: skip
            if done.heard is None:
                raise done.lost or CloudError("nothing was heard", where=done.used.instance_type)
            return self._row(done.heard, done.where), done.spent_usd

        return payer.on_all(places, one)

    def _spec(self, report_by_s: float | None) -> dict[str, Any]:
        job, objective = self._job, self._objective
        service = job.service
        assert service is not None
        least_s, most_s = GIVE_UP_S[objective.measure is Measure.LATENCY]
        ready = service.readiness
        return {
            "command": job.command,
            "setup": job.setup,
            "cwd": job.workdir or str(Path.cwd()),
            "env": dict(job.envs),
            "port": self._port,
            "ready": {
                **ready._asdict(),
                "headers": dict(ready.headers),
                "variables": [*job.envs, *job.secrets],
            },
            "path": self._request.path,
            "bodies": list(self._bodies),
            "measure": str(objective.measure),
            "within_s": objective.within_s,
            "share": objective.share,
            "give_up_s": min(max(GIVE_UP * objective.within_s, least_s), most_s),
            "budget_s": min(LONGEST_S, job.profile.max_time_s),
            "report_by_s": report_by_s,
            "grace_s": GRACE_S,
            "max_time_s": GRACE_S,
            "seed": 0,
        }

    def _heard(self, link: AgentLink, note: Callable[[str], None]) -> Report:
        """What is reported until the end of the measurement; what ended it instead is raised."""
        ready_s, report = 0.0, None
        error: MlbrokerError | None = None
        for message in link.messages():
            if "restart" in message:
                report = error = None
            elif "ready_s" in message:
                ready_s = float(message["ready_s"])
                note(f"Ready after {ready_s:.1f} s; {WHAT_IS_CHECKED}.")
            elif "window" in message:
                note(_window_words(message["window"]))
            elif "never" in message:
                error = _never(self._objective, message["never"])
            elif "end" in message:
                error = _ended(message, self._port)
            elif "capacity" in message:
                report = _report(message["capacity"], ready_s, note)
        if error is not None:
            raise error
        if report is None:
            raise link.failure()
        return report

    def _row(self, report: Report, where: MeasuredOn) -> Measurement:
        found = report.found
        return Measurement(
            job=self._job.name,
            config=where.config,
            time_s=1 / found.rps,
            cloud=where.cloud,
            region=where.region,
            instance_type=where.instance_type,
            price_per_hour_usd=where.price_per_hour_usd,
            sigma_log=max(0.0, math.log(found.rps / found.low_rps)) / Z90,
            fingerprint=self._job.fingerprint(),
            measured_at=datetime.now(UTC),
            facts=self._known,
            extra={
                RPS: f"{found.rps:.6g}",
                LOW_RPS: f"{found.low_rps:.6g}",
                FOR: objective_key(self._objective),
                "ready_s": f"{report.ready_s:.4g}",
                "windows": str(found.windows),
                "load_cores": f"{report.load_cores:.3g}",
                **({AT_LEAST: "yes"} if found.at_least else {}),
                **({} if report.tokens is None else {TOKENS: f"{report.tokens:.6g}"}),
            },
        )


def _told(job: Job) -> tuple[ServiceObjective, SampleRequest, int]:
    service = job.service
    assert service is not None
    if not job.command:
        raise InputError("has no `run:`: there is nothing to start", where=job.name)
    if service.objective is None:
        raise InputError(
            "how soon the service must answer is not said",
            where=job.name,
            hint="broker: {service: {objective: {latency: 500ms, share: 0.95}}}",
        )
    if service.request is None:
        raise InputError(
            "what a request is, is not said",
            where=job.name,
            hint="broker: {service: {request: {path: /classify, body: samples.jsonl}}}",
        )
    if service.port is None:
        raise InputError(
            "on which port the service answers is not said", where=job.name,
            hint="service: {ports: 8080}",
        )  # fmt: skip
    return service.objective, service.request, service.port


def _report(told: Mapping[str, Any], ready_s: float, note: Callable[[str], None]) -> Report:
    found = Capacity(
        float(told["rps"]), float(told["low_rps"]), int(told["windows"]), bool(told["at_least"])
    )
    if found.at_least:
        note("The machine that made the load was at its end before the service was.")
    kinds = told["kinds"]
    if strange := {kind: number for kind, number in kinds.items() if kind != "served"}:
        note(f"Not served, of {sum(kinds.values()):,} requests: {_kinds(strange)}.")
    cores = float(told["load_cores"])
    note(f"Making the load took {cores:.2f} of a core: a replica has it for itself.")
    return Report(found, ready_s, told["tokens"], cores)


def _window_words(told: Mapping[str, Any]) -> str:
    share = told["good"] / told["judged"]
    return f"{told['rate_rps']:8.4g} a second for {told['sent_s']:4.0f} s: {share:7.2%} in time"


def _ended(message: Mapping[str, Any], port: int) -> MlbrokerError:
    if message["end"] == "taken":
        hint = "stop it first: what answers must be the service that is measured"
        return InputError(f"something answers on port {port} already", hint=hint)
    if message["end"] == "no time":
        return NothingFeasible(
            f"the service was ready after {message['used_s']:.0f} s, and the money is for no load"
            " beside that",
            hint="--max-cost, or `broker: profile: {max_cost: 1 USD}`, is what a machine may cost",
        )
    words = str(message.get("output", "")).strip().splitlines()
    said = f"; its last words: {quoted(words[-1])}" if words else ""
    if message["end"] == "not ready":
        return JobFailed(
            f"the service did not get ready: its probe got {quoted(message['last'])}{said}",
            hint="`readiness_probe: {path: /health, initial_delay_seconds: 60}` says for how long",
        )
    what = "its set-up" if message["end"] == "setup" else "the service"
    return JobFailed(f"{what} ended by itself, exit status {message['exit']}{said}")


def _never(objective: ServiceObjective, told: Mapping[str, Any]) -> NothingFeasible:
    took = "" if told["p50_s"] is None else f", half of those served took {told['p50_s']:.3g} s"
    return NothingFeasible(
        f"{objective_key(objective)} is not met at {told['rate_rps']:.3g} a second, the lowest rate"
        f" tried: {_kinds(told['kinds'])}{took}",
        hint=WHAT_IS_CHECKED,
    )


def _kinds(kinds: Mapping[str, int]) -> str:
    return ", ".join(f"{kind}: {count:,}" for kind, count in kinds.items())
