"""A service's blocks: SkyServe's own `service:`, and `service:` under `broker:`."""

from typing import Any

from mlbroker.broker.errors import InputError
from mlbroker.broker.files.job_readiness import read_readiness, url_path
from mlbroker.broker.files.skypilot_keys import check_service, parse_flag
from mlbroker.broker.files.values import (
    matching,
    parse_confidence,
    parse_count,
    parse_duration_s,
    parse_money_usd,
    parse_number,
    parse_positive,
)
from mlbroker.broker.files.yaml_fields import Fields
from mlbroker.broker.files.yaml_strict import quoted
from mlbroker.profiles.job import Replicas
from mlbroker.profiles.service import Measure, SampleRequest, Service, ServiceObjective, Traffic

_BALANCING = "round_robin|least_load|instance_aware_least_load"
_balancing = matching(
    _BALANCING, "a load balancing policy of SkyServe's", _BALANCING.replace("|", ", ")
)
_file = matching(r"[^\x00-\x1f\x7f]{1,999}", "a file name")
# Where each kind says how many there are: fixed, and from least to most.
_KINDS = {
    "service": ("replicas", "replica_policy", "min_replicas", "max_replicas"),
    "pool": ("workers", "worker_policy", "min_workers", "max_workers"),
}
_OBJECTIVE = (*Measure, "share")
_PARTS = {
    "objective": _OBJECTIVE,
    "budget": ("month", "day"),
    "traffic": ("trace", "rate", "peak"),
    "request": ("path", "body"),
    "over_cap": ("queue",),
}


def read_replicas(fields: Fields) -> tuple[Replicas | None, Service | None]:
    """How many machines of a service or a pool run until somebody stops them, and what tells."""
    for kind, (fixed, policy, least_key, most_key) in _KINDS.items():
        section = fields.section(kind)
        if section is None:
            continue
        check_service(kind, section)
        _check_values(section)
        # As SkyPilot writes a pool out: within a service.
        pool = kind == "service" and bool(section.node("pool") or section.node("workers"))
        if pool:
            nested = section.node("pool")
            if nested is not None and nested.fields is not None:
                section = Fields(nested, section.name_of("pool"), section.source)
            fixed, policy, least_key, most_key = _KINDS["pool"]
        if section.node(fixed) and section.node(policy):
            section.fail(policy, f"goes without {fixed}", "one of both says how many there are")
        count = section.value(fixed, _count)
        scaling = section.section(policy) or section
        least, most = scaling.value(least_key, _count), scaling.value(most_key, _count)
        first = next((number for number in (count, least) if number is not None), 1)
        if most is not None and most < first:
            scaling.fail(most_key, f"{most} is less than {least_key}, {first}")
        replicas = Replicas(kind, first, first if most is None else most)
        if kind == "pool" or pool:
            return replicas, None
        engine = _engine(scaling, scales=count is None and most != first, most=most)
        return replicas, _reached(section, engine)
    return None, None


def read_service(block: Fields, engine: Service | None) -> Service | None:
    """The engine, with what `broker: service:` asks of it."""
    if block.node("service") is None:
        return engine
    if engine is None:
        block.fail("service", "goes with a `service:` of SkyServe's at the top of the file",
                   "service: {readiness_probe: /health, replicas: 2}")  # fmt: skip
    service = block.section("service")
    assert service is not None
    service.refuse_unknown((*_PARTS, "capacity"))
    parts = {key: part for key in _PARTS if (part := service.section(key)) is not None}
    for key, part in parts.items():
        part.refuse_unknown(_PARTS[key])
    found: dict[str, Any] = {}
    if "objective" in parts:
        found["objective"] = _objective(service, parts["objective"])
    if "budget" in parts:
        for key in ("month", "day"):
            found[f"{key}_usd"] = parts["budget"].value(key, parse_money_usd)
    if "traffic" in parts:
        found["traffic"] = _traffic(service, parts["traffic"])
    if "request" in parts:
        path = parts["request"].required("path", url_path, "{path: /classify, body: samples.jsonl}")
        found["request"] = SampleRequest(path, parts["request"].value("body", _file))
    if "over_cap" in parts:
        found["queue_s"] = parts["over_cap"].required("queue", parse_duration_s, "{queue: 10s}")
    if (capacity := service.section("capacity")) is not None:
        found["capacity"] = tuple(
            (name, capacity.required(name, _capacity, "{g5.xlarge: 12}")) for name in capacity
        )
    return engine._replace(**found)


def _check_values(section: Fields) -> None:
    """What SkyServe refuses of its own fields."""
    read_readiness(section)
    section.value("ports", _port)
    section.value("load_balancing_policy", _balancing)
    tls = section.section("tls")
    if tls is not None:
        tls.refuse_unknown(("keyfile", "certfile"))


def _engine(policy: Fields, *, scales: bool, most: int | None) -> Service:
    target = policy.node("target_qps_per_replica")
    # By accelerator it is told for SkyServe's instance-aware balancing: no one number.
    by_gpu = target is not None and target.fields is not None
    rps = None if by_gpu else policy.value("target_qps_per_replica", parse_positive)
    for key in ("num_overprovision", "base_ondemand_fallback_replicas"):
        policy.value(key, _count)
    policy.value("dynamic_ondemand_fallback", parse_flag)
    engine = Service(scales, most, None if rps is None else float(rps))
    if (up := policy.value("upscale_delay_seconds", parse_number)) is not None:
        engine = engine._replace(upscale_s=float(up))
    if (down := policy.value("downscale_delay_seconds", parse_number)) is not None:
        engine = engine._replace(downscale_s=float(down))
    return engine


def _reached(section: Fields, engine: Service) -> Service:
    """Where a replica answers, and how it says that it is ready."""
    engine = engine._replace(port=section.value("ports", _port))
    asked = read_readiness(section)
    return engine if asked is None else engine._replace(readiness=asked)


def _objective(service: Fields, part: Fields) -> ServiceObjective:
    named = [measure for measure in Measure if part.node(measure) is not None]
    if len(named) != 1:
        service.fail("objective", "must be one of latency, ttft and tpot, and a share",
                     "{latency: 2s, share: 0.95}")  # fmt: skip
    within_s = part.required(named[0], _short_s, "{latency: 2s, share: 0.95}")
    share = part.value("share", parse_confidence)
    told = ServiceObjective(named[0], within_s)
    return told if share is None else told._replace(share=share)


def _traffic(service: Fields, part: Fields) -> Traffic:
    trace = part.value("trace", _file)
    rate, peak = part.value("rate", parse_positive), part.value("peak", parse_positive)
    if (trace is None) == (rate is None) or (trace is not None and peak is not None):
        service.fail("traffic", "must be a trace, or a rate with its peak",
                     "{trace: requests.csv}, or {rate: 12, peak: 40} a second")  # fmt: skip
    if rate is None:
        return Traffic(trace=trace)
    if peak is not None and peak < rate:
        part.fail("peak", f"{peak} is less than the rate, {rate}")
    return Traffic(float(rate), float(rate if peak is None else peak))


def _count(text: str) -> int:
    return 0 if text.strip() == "0" else parse_count(text, 10_000)


def _capacity(text: str) -> float:
    """Requests a second; zero where the objective is never met."""
    return 0.0 if text.strip() == "0" else float(parse_positive(text))


def _port(text: str) -> int:
    return parse_count(text, 65_535)


def _short_s(text: str) -> float:
    """Seconds of a duration, or of `200ms`."""
    if not text.strip().endswith("ms"):
        return parse_duration_s(text)
    milliseconds = parse_positive(text.strip().removesuffix("ms"))
    if milliseconds >= 10**7:
        raise InputError(f"{quoted(text)} is too long", hint="write seconds, for example 2s")
    return float(milliseconds) / 1000
