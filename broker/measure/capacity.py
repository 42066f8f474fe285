"""Measures how many requests a second a replica of a service serves, on this machine."""

import json
import math
import socket
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mlbroker.broker.errors import InputError, JobFailed, NothingFeasible
from mlbroker.broker.evidence import facts
from mlbroker.broker.evidence.capacities import AT_LEAST, FOR, LOW_RPS, RPS, TOKENS
from mlbroker.broker.evidence.hardware import this_machine
from mlbroker.broker.files.yaml_strict import quoted
from mlbroker.broker.measure.agent_link import ProcessLink, load_here
from mlbroker.broker.runs.launch import secret_values
from mlbroker.pricing.vendors import LOCAL
from mlbroker.profiles.capacity import Z90, Capacity, CapacitySearch, Seen, Window
from mlbroker.profiles.desk import Asked
from mlbroker.profiles.job import Job
from mlbroker.profiles.measurement import Measurement
from mlbroker.profiles.service import (
    Measure,
    SampleRequest,
    Service,
    ServiceObjective,
    objective_key,
)

# Of a measurement so much is for the windows: the rest is start, settling and end.
LONGEST_S = 150.0
GRACE_S = 2.0
# Answers are given up after so many times the objective, within these bounds in seconds.
GIVE_UP = 4.0
GIVE_UP_S = {True: (2.0, 60.0), False: (30.0, 120.0)}
ALONE = Window(1.0, 5.0, 0.0, 5, settle=False)
# Who makes the load is the limit, where it is itself late by so much of the objective.
LATE_ITSELF = 0.2
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


def measure_capacity(job: Job, bodies: list[str], note: Callable[[str], None]) -> Measurement:
    """Start the service, load it until its capacity is known, and end it.

    InputError for what the file does not say, JobFailed for a service that does not get ready,
    NothingFeasible where the objective is not met at the lowest rate.
    """
    service = job.service
    assert service is not None
    objective, request, port = _told(job, service)
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            hint = "stop it first: what answers must be the service that is measured"
            raise InputError(f"something answers on port {port} already", hint=hint)
    if objective.measure is Measure.TPOT:
        note("tpot is read off the events of the stream: one event is taken for one token.")
    latency = objective.measure is Measure.LATENCY
    least_s, most_s = GIVE_UP_S[latency]
    link = load_here(
        {
            "command": job.command,
            "setup": job.setup,
            "cwd": job.workdir or str(Path.cwd()),
            "env": {**job.envs, **secret_values(job)},
            "port": port,
            "readiness": service.readiness,
            "ready_s": service.ready_s,
            "path": request.path,
            "bodies": bodies,
            "measure": str(objective.measure),
            "within_s": objective.within_s,
            "give_up_s": min(max(GIVE_UP * objective.within_s, least_s), most_s),
            "grace_s": GRACE_S,
            "max_time_s": GRACE_S,
            "seed": 0,
        }
    )
    known = facts.of(job, measured=True)
    try:
        ready_s = float(_next(link, "ready_s"))
        note(f"Ready after {ready_s:.1f} s; {WHAT_IS_CHECKED}.")
        found, tokens = _search(job, objective, link, note)
    finally:
        link.close()
    return Measurement(
        job=job.name,
        config=this_machine(),
        time_s=1 / found.rps,
        cloud=LOCAL,
        sigma_log=max(0.0, math.log(found.rps / found.low_rps)) / Z90,
        fingerprint=job.fingerprint(),
        measured_at=datetime.now(UTC),
        facts=known,
        extra={
            RPS: f"{found.rps:.6g}",
            LOW_RPS: f"{found.low_rps:.6g}",
            FOR: objective_key(objective),
            "ready_s": f"{ready_s:.4g}",
            "windows": str(found.windows),
            **({AT_LEAST: "yes"} if found.at_least else {}),
            **({} if tokens is None else {TOKENS: f"{tokens:.6g}"}),
        },
    )


def _told(job: Job, service: Service) -> tuple[ServiceObjective, SampleRequest, int]:
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


def _search(
    job: Job, objective: ServiceObjective, link: ProcessLink, note: Callable[[str], None]
) -> tuple[Capacity, float | None]:
    kinds: Counter[str] = Counter()
    tokens = None
    alone = _loaded(link, ALONE)
    kinds.update(alone["kinds"])
    alone_s = alone["p50_s"] or objective.within_s
    search = CapacitySearch(
        objective.share, objective.within_s, alone_s, min(LONGEST_S, job.profile.max_time_s)
    )
    if alone["good"] == 0:
        raise _never(objective, alone, kinds)
    while (window := search.next()) is not None:
        told = _loaded(link, window)
        kinds.update(told["kinds"])
        tokens = told["tokens"] or tokens
        asked = [
            Asked(due / 1e6, done / 1e6, tail / 1e6, bool(failed))
            for due, done, tail, failed in told.pop("asked")
        ]
        seen = Seen(window.rate_rps, told["judged"], told["good"], told["stopped"], asked)
        search.add(
            seen,
            told["took_s"],
            generator_is_late=told["lag_p95_s"] > LATE_ITSELF * objective.within_s,
        )
        share = told["good"] / told["judged"]
        note(f"{window.rate_rps:8.4g} a second for {told['sent_s']:4.0f} s: {share:7.2%} in time")
        last = told
    found = search.result()
    if found is None:
        raise _never(objective, last, kinds)
    if found.at_least:
        note("The machine that made the load was at its end before the service was.")
    strange = {kind: count for kind, count in kinds.items() if kind != "served"}
    if strange:
        note(f"Not served, of {sum(kinds.values()):,} requests: {_kinds(strange)}.")
    return found, tokens


def _loaded(link: ProcessLink, window: Window) -> dict[str, Any]:
    link.send(window._asdict())
    return dict(_next(link, "window"))


def _next(link: ProcessLink, name: str) -> Any:
    """The next message of this name; what ends the service instead is raised."""
    for message in link.messages():
        if name in message:
            return message[name]
        if "end" in message:
            raise _ended(message)
    raise link.failure()


def _ended(message: Mapping[str, Any]) -> JobFailed:
    words = str(message.get("output", "")).strip().splitlines()
    said = f"; its last words: {quoted(words[-1])}" if words else ""
    if message["end"] == "not ready":
        return JobFailed(
            f"the service did not get ready: its probe got {quoted(message['last'])}{said}",
            hint="`readiness_probe: {path: /health, initial_delay_seconds: 60}` says for how long",
        )
    what = "its set-up" if message["end"] == "setup" else "the service"
    return JobFailed(f"{what} ended by itself, exit status {message['exit']}{said}")


def _never(
    objective: ServiceObjective, told: Mapping[str, Any], kinds: Mapping[str, int]
) -> NothingFeasible:
    took = "" if told["p50_s"] is None else f", half of those served took {told['p50_s']:.3g} s"
    return NothingFeasible(
        f"{objective_key(objective)} is not met at {told['rate_rps']:.3g} a second, the lowest rate"
        f" tried: {_kinds(kinds)}{took}",
        hint=WHAT_IS_CHECKED,
    )


def _kinds(kinds: Mapping[str, int]) -> str:
    return ", ".join(f"{kind}: {count:,}" for kind, count in kinds.items())
