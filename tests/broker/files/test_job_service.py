"""SkyServe's `service:` block and `broker: service:`: what they say, and what is refused."""

from decimal import Decimal

import pytest

from mlbroker.broker.errors import InputError
from mlbroker.broker.files.job_file import parse_jobs
from mlbroker.profiles.job import Job, Replicas
from mlbroker.profiles.service import (
    Measure,
    Readiness,
    SampleRequest,
    Service,
    ServiceObjective,
    Traffic,
)

FULL = """\
service:
  readiness_probe: {path: /health, initial_delay_seconds: 1200, post_data: {model: x}}
  replica_policy:
    min_replicas: 2
    max_replicas: 9
    target_qps_per_replica: 2.5
    dynamic_ondemand_fallback: true
    base_ondemand_fallback_replicas: 1
    upscale_delay_seconds: 60
    downscale_delay_seconds: 0
  ports: 8080
  load_balancing_policy: least_load
  tls: {keyfile: a, certfile: b}
run: serve
broker:
  service:
    objective: {ttft: 250ms, share: 0.9}
    budget: {month: 500 USD, day: 30}
    traffic: {rate: 12, peak: 40}
    request: {path: /classify, body: samples.jsonl}
    over_cap: {queue: 4s}
    capacity: {g5.xlarge: 12.5, c7i.large: 0}
"""


def job_of(text: str) -> Job:
    (file,) = parse_jobs(text, "job.yaml", None)
    return file.job


def test_all_that_a_service_says() -> None:
    job = job_of(FULL)
    assert job.replicas == Replicas("service", 2, 9)
    assert job.service == Service(
        scales=True,
        most=9,
        target_rps=2.5,
        upscale_s=60.0,
        downscale_s=0.0,
        objective=ServiceObjective(Measure.TTFT, 0.25, 0.9),
        month_usd=Decimal(500),
        day_usd=Decimal(30),
        traffic=Traffic(12.0, 40.0),
        request=SampleRequest("/classify", "samples.jsonl"),
        queue_s=4.0,
        port=8080,
        readiness=Readiness("/health", body='{"model": "x"}'),
        capacity=(("g5.xlarge", 12.5), ("c7i.large", 0.0)),
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("service: {replicas: 3}", Service(False, None)),
        ("service: {readiness_probe: /}", Service(True, None)),
        ("service: {replica_policy: {min_replicas: 2}}", Service(True, None)),
        ("service: {replica_policy: {min_replicas: 2, max_replicas: 2}}", Service(False, 2)),
        (
            "service: {replica_policy: {min_replicas: 1, max_replicas: 4,"
            " target_qps_per_replica: {L4: 2, A100: 5}}}",
            Service(True, 4),
        ),
        ("pool: {workers: 3}", None),
        ("service: {pool: true, workers: 3}", None),
    ],
)
def test_how_an_engine_scales(text: str, expected: Service | None) -> None:
    assert job_of(f"{text}\nrun: x").service == expected


A_SERVICE = "service: {readiness_probe: /}\nrun: x\n"
PROBE = "run: x\nservice: {readiness_probe: {path: /, %s}}"
REFUSED = {
    "run: x\nservice: {readiness_probe: health}": "readiness_probe: 'health' is not a path",
    "run: x\nservice: {readiness_probe: {timeout_seconds: 5}}": "readiness_probe.path: is missing",
    PROBE % "post_data: '{model'": "readiness_probe.post_data: is not JSON",
    PROBE % "post_data: [a]": "readiness_probe.post_data: must be a mapping",
    PROBE % "post_data: {day: 2026-11-30}": "post_data: holds what JSON cannot say",
    PROBE % "post_data: {share: .nan}": "post_data: holds what JSON cannot say",
    PROBE % "headers: {X Key: a}": "readiness_probe.headers.X Key: is no header",
    PROBE % "headers: {Content-Length: 3}": "headers.Content-Length: is no header",
    PROBE % 'headers: {X-Key: "a\\r\\nb"}': "headers.X-Key: is no value of a header",
    PROBE % "timeout_seconds: 0": "readiness_probe.timeout_seconds: ",
    "run: x\nservice: {ports: 80800}": "ports: '80800' is not between 1 and 65535",
    "run: x\nservice: {replicas: 2, replica_policy: {min_replicas: 1}}": "goes without replicas",
    "run: x\nservice: {replica_policy: {min_replicas: 3, max_replicas: 2}}":
        "max_replicas: 2 is less than min_replicas, 3",
    "run: x\npool: {min_workers: 3, max_workers: 2}": "max_workers: 2 is less than min_workers, 3",
    "run: x\nservice: {replica_policy: {upscale_delay_second: 3}}": "'upscale_delay_seconds'?",
    "run: x\nservice: {load_balancing_policy: robin}": "is not a load balancing policy",
    "run: x\nservice: {tls: {keyfil: a}}": "did you mean 'keyfile'?",
    "run: x\nbroker: {service: {budget: {month: 5}}}": "goes with a `service:` of SkyServe's",
    A_SERVICE + "broker: {service: {budgets: {month: 5}}}": "did you mean 'budget'?",
    A_SERVICE + "broker: {service: {budget: {mont: 5}}}": "did you mean 'month'?",
    A_SERVICE + "broker: {service: {budget: {month: 5 EUR}}}": "not in US dollars",
    A_SERVICE + "broker: {service: {objective: {share: 0.9}}}": "one of latency, ttft and tpot",
    A_SERVICE + "broker: {service: {objective: {ttft: 1s, tpot: 1s}}}": "one of latency",
    A_SERVICE + "broker: {service: {objective: {latency: 2, share: 0.9}}}": "is not a duration",
    A_SERVICE + "broker: {service: {objective: {latency: 2s, share: 95}}}": "not between 0 and 1",
    A_SERVICE + "broker: {service: {traffic: {peak: 9}}}": "must be a trace, or a rate",
    A_SERVICE + "broker: {service: {traffic: {rate: 9, trace: a}}}": "must be a trace, or a rate",
    A_SERVICE + "broker: {service: {traffic: {rate: 9, peak: 3}}}": "3 is less than the rate, 9",
    A_SERVICE + "broker: {service: {request: {path: v1}}}": "'v1' is not a path",
    A_SERVICE + "broker: {service: {over_cap: {queue: 0s}}}": "must be more than zero",
    A_SERVICE + "broker: {service: {capacity: {g5.xlarge: -3}}}": "capacity.g5.xlarge: ",
    A_SERVICE + "broker: {service: {capacity: {g5.xlarge: fast}}}": "capacity.g5.xlarge: ",
    A_SERVICE + "broker: {service: {capacity: {g5.xlarge: }}}": "g5.xlarge: is missing",
    A_SERVICE + "broker: {service: {capacity: 12}}": "must be a mapping",
}  # fmt: skip


@pytest.mark.parametrize(
    "told",
    ["{model: x, n: 1, on: [true, null]}", """'{"model": "x", "n": 1, "on": [true, null]}'"""],
)
def test_what_a_probe_sends(told: str) -> None:
    more = f"post_data: {told}, headers: {{X-Key: a b}}, timeout_seconds: 3"
    service = job_of(PROBE % more).service
    assert service is not None
    assert service.readiness == Readiness(
        "/", timeout_s=3.0, body='{"model": "x", "n": 1, "on": [true, null]}',
        headers=(("X-Key", "a b"),),
    )  # fmt: skip


@pytest.mark.parametrize("text", REFUSED)
def test_what_a_service_cannot_say(text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_jobs(text, "job.yaml", None)
    assert REFUSED[text] in str(caught.value)
    assert str(caught.value).startswith(f"job.yaml:{text.rstrip().count(chr(10)) + 1}: ")
    assert caught.value.exit_code == 2
