"""Every engine's exporter: its file is one of the engine's, and the ceiling is in it, exactly.

The engines' own parsers read what is written where MLBROKER_ENGINES_PYTHON names a Python that has
them (pip install skypilot 'ray[serve]' azure-mgmt-monitor). Beside them stand schemas of ours, and
those that come with Kubernetes' and AWS' clients.
"""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import boto3
import jsonschema
import kubernetes_validate
import pytest
import yaml
from botocore.validate import ParamValidator
from google.cloud import compute_v1
from hypothesis import given, settings
from hypothesis import strategies as st
from moto import mock_aws
from tests.support import engine_schemas as schemas
from tests.support.kubernetes.store import SCHEMA

from mlbroker.broker.engines import EXPORTERS, exporter
from mlbroker.broker.engines.interface import Ceiling
from mlbroker.broker.files.job_file import parse_jobs
from mlbroker.profiles.job import Job
from mlbroker.profiles.service import Measure, Service, ServiceObjective

GROUP = "/subscriptions/s/resourceGroups/serving/providers/"
SCALE_SET = f"{GROUP}Microsoft.Compute/virtualMachineScaleSets/classify"
GATEWAY = f"{GROUP}Microsoft.Network/applicationGateways/front"
LABEL = "app/front/50dc6c495c0c9188/targetgroup/classify/943f017f100becff"


class Held(NamedTuple):
    """What a file says, read back; the target where it is one in requests a second."""

    least: int
    most: int
    target_rps: float | None
    queue: int | None = None


def read_skyserve(text: str, folder: Path) -> Held:
    jsonschema.validate(yaml.safe_load(text), schemas.SKYSERVE)
    (file,) = parse_jobs(f"{text}run: serve\n", "service.yaml", folder)
    replicas, service = file.job.replicas, file.job.service
    assert replicas is not None
    assert service is not None
    assert service.most == replicas.most
    return Held(replicas.least, replicas.most, service.target_rps)


def read_kserve(text: str, folder: Path) -> Held:
    made = yaml.safe_load(text)
    jsonschema.validate(made, schemas.KSERVE)
    says, notes = made["spec"]["predictor"], made["metadata"]["annotations"]
    assert says["scaleMetric"] == "rps"
    assert notes["autoscaling.knative.dev/target-utilization-percentage"] == "100"
    target = says["scaleTarget"] or notes["autoscaling.knative.dev/target"]
    return Held(
        says["minReplicas"], says["maxReplicas"], float(target), says["containerConcurrency"]
    )


def read_keda(text: str, folder: Path) -> Held:
    made = yaml.safe_load(text)
    jsonschema.validate(made, schemas.KEDA)
    (trigger,) = made["spec"]["triggers"]
    return Held(
        made["spec"]["minReplicaCount"],
        made["spec"]["maxReplicaCount"],
        float(trigger["metadata"]["threshold"]),
    )


def read_hpa(text: str, folder: Path) -> Held:
    made = yaml.safe_load(text)
    kubernetes_validate.validate(made, SCHEMA, strict=True)
    spec = made["spec"]
    windows = [each["stabilizationWindowSeconds"] for each in spec["behavior"].values()]
    assert all(0 <= window <= 3600 for window in windows)
    quantity = spec["metrics"][0]["pods"]["target"]["averageValue"]
    assert quantity.endswith("m")
    return Held(spec["minReplicas"], spec["maxReplicas"], int(quantity[:-1]) / 1000)


def read_ray_serve(text: str, folder: Path) -> Held:
    made = yaml.safe_load(text)
    jsonschema.validate(made, schemas.RAY_SERVE)
    (deployment,) = made["applications"][0]["deployments"]
    scaling = deployment["autoscaling_config"]
    return Held(
        scaling["min_replicas"],
        scaling["max_replicas"],
        None,
        deployment["max_ongoing_requests"],
    )


def calls_of(text: str, folder: Path, **environment: str) -> dict[str, Any]:
    """What the script says to AWS' command line, by operation."""
    aws = folder / "aws"
    aws.write_text('#!/bin/sh\nprintf "%s\\0" "$@" >>"$CALLS"\n')
    aws.chmod(0o755)
    calls = folder / "calls"
    calls.unlink(missing_ok=True)
    known = {"PATH": f"{folder}:/usr/bin:/bin", "CALLS": str(calls), **environment}
    subprocess.run(["sh", "-c", text], env=known, check=True, capture_output=True)
    words = calls.read_text().split("\0")[:-1]
    assert words[::4] == ["autoscaling"] * 2
    assert words[2::4] == ["--cli-input-json"] * 2
    return {name: json.loads(said) for name, said in zip(words[1::4], words[3::4], strict=True)}


def read_aws_asg(text: str, folder: Path) -> Held:
    calls = calls_of(text, folder, RESOURCE_LABEL=LABEL)
    model = boto3.client("autoscaling", region_name="us-east-1").meta.service_model
    for name, said in calls.items():
        operation = "".join(word.capitalize() for word in name.split("-"))
        report = ParamValidator().validate(said, model.operation_model(operation).input_shape)
        assert not report.has_errors(), report.generate_report()
    bounds, policy = calls["update-auto-scaling-group"], calls["put-scaling-policy"]
    tracking = policy["TargetTrackingConfiguration"]
    assert tracking["PredefinedMetricSpecification"]["ResourceLabel"] == LABEL
    return Held(bounds["MinSize"], bounds["MaxSize"], tracking["TargetValue"] / 60)


def read_gcp_mig(text: str, folder: Path) -> Held:
    for name, code in {
        "gcloud": "echo a-token",
        "curl": 'cat >head; printf "%s\\0" "$@" >said',
    }.items():
        (folder / name).write_text(f"#!/bin/sh\n{code}\n")
        (folder / name).chmod(0o755)
    known = {"PATH": f"{folder}:/usr/bin:/bin", "PROJECT": "p", "ZONE": "europe-west4-a"}
    subprocess.run(["sh", "-c", text], env=known, cwd=folder, check=True, capture_output=True)
    said = (folder / "said").read_text().split("\0")
    assert (folder / "head").read_text() == "Authorization: Bearer a-token"
    path, _, name = said[3].partition("?autoscaler=")
    assert path.endswith("/projects/p/zones/europe-west4-a/autoscalers")
    made = compute_v1.Autoscaler.from_json(said[said.index("-d") + 1], ignore_unknown_fields=False)
    assert made.name == name
    policy = made.autoscaling_policy
    assert policy.load_balancing_utilization.utilization_target == 1
    return Held(policy.min_num_replicas, policy.max_num_replicas, None)


def read_azure_vmss(text: str, folder: Path) -> Held:
    made = az_call(text, folder)[1]
    jsonschema.validate(made, schemas.AZURE_AUTOSCALE)
    says = made["properties"]
    assert says["targetResourceUri"] == SCALE_SET
    (profile,) = says["profiles"]
    up, more, down = profile["rules"]
    for rule in (up, more, down):
        assert rule["metricTrigger"]["metricResourceUri"] == GATEWAY
    thresholds = [rule["metricTrigger"]["threshold"] for rule in (up, more, down)]
    # One away of two leaves to the other no more than it serves.
    assert thresholds[0] == thresholds[1] >= 2 * thresholds[2]
    capacity = {name: int(count) for name, count in profile["capacity"].items()}
    assert capacity["default"] == capacity["minimum"]
    return Held(capacity["minimum"], capacity["maximum"], thresholds[0] / 60)


def az_call(text: str, folder: Path) -> tuple[str, dict[str, Any]]:
    """Where the script puts what with Azure's command line."""
    az = folder / "az"
    az.write_text(
        '#!/bin/sh\nif [ "$1" = resource ]; then echo westeurope; exit; fi\n'
        'printf "%s\\0" "$@" >said\n'
    )
    az.chmod(0o755)
    known = {"PATH": f"{folder}:/usr/bin:/bin", "SCALE_SET": SCALE_SET, "GATEWAY": GATEWAY}
    subprocess.run(["sh", "-c", text], env=known, cwd=folder, check=True, capture_output=True)
    said = (folder / "said").read_text().split("\0")
    assert said[:4] == ["rest", "--method", "put", "--url"]
    assert said[5] == "--body"
    made = json.loads(said[6])
    assert made["location"] == "westeurope"
    return said[4], made


READS: dict[str, Callable[[str, Path], Held]] = {
    "skyserve": read_skyserve,
    "kserve": read_kserve,
    "keda": read_keda,
    "hpa": read_hpa,
    "ray-serve": read_ray_serve,
    "aws-asg": read_aws_asg,
    "gcp-mig": read_gcp_mig,
    "azure-vmss": read_azure_vmss,
}


def service_job(name: str = "classify", **changes: Any) -> Job:
    objective = ServiceObjective(Measure.LATENCY, 2.0)
    service = Service(True, 500, 10.0, objective=objective, port=8080)._replace(**changes)
    return Job(name, "serve", service=service)


def test_there_is_a_reader_for_every_exporter() -> None:
    assert list(READS) == list(EXPORTERS)


@settings(max_examples=10, deadline=None)
@given(
    name=st.from_regex(r"[a-zA-Z][a-zA-Z0-9._-]{0,60}", fullmatch=True),
    least=st.integers(0, 50),
    spare=st.integers(0, 9_000),
    target_rps=st.floats(0.02, 50_000),
    queue=st.integers(1, 100_000),
    delays=st.tuples(st.floats(0, 50_000), st.floats(0, 50_000)),
    objective=st.none()
    | st.builds(ServiceObjective, st.sampled_from(Measure), st.floats(0.001, 100.0)),
)
@pytest.mark.parametrize("engine", EXPORTERS)
def test_the_ceiling_is_in_the_engine_s_file(
    engine: str,
    name: str,
    least: int,
    spare: int,
    target_rps: float,
    queue: int,
    delays: tuple[float, float],
    objective: ServiceObjective | None,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    job = service_job(name, upscale_s=delays[0], downscale_s=delays[1], objective=objective)
    ceiling = Ceiling(least, max(least + spare, 1), target_rps, queue)
    folder = tmp_path_factory.getbasetemp()
    held = READS[engine](exporter(engine).export(job, ceiling).text, folder)
    assert held.most == ceiling.most
    assert held.least == (max(least, 1) if engine == "hpa" else least)
    assert held.queue in {None, queue}
    if held.target_rps is not None:
        # Whole where the engine counts in whole ones: never above what a replica serves.
        coarse = {"kserve": 1.0, "hpa": 0.001}.get(engine, 0.0)
        assert held.target_rps <= target_rps * (1 + 1e-4)
        assert held.target_rps >= target_rps * (1 - 1e-4) - coarse


@pytest.mark.parametrize("engine", EXPORTERS)
def test_who_does_not_turn_away_says_so(engine: str) -> None:
    made = exporter(engine).export(service_job(), Ceiling(1, 14, 10.0, 20))
    told = [note for note in made.notes if "429" in note or "503" in note]
    assert len(told) == 1
    assert "20 requests" in told[0]
    assert exporter(engine).WORDS


def test_who_comes_over_the_queue_is_turned_away_by_ray() -> None:
    made = exporter("ray-serve").export(service_job(), Ceiling(1, 14, 10.0, 45))
    (deployment,) = yaml.safe_load(made.text)["applications"][0]["deployments"]
    assert deployment["backpressure_config"] == {"status_code": 429, "retry_after_s": 5.0}
    # Little: 10 a second, of which 95 % within 2 s: 2 / ln 20 on average.
    assert deployment["autoscaling_config"]["target_ongoing_requests"] == pytest.approx(6.676)


@pytest.mark.parametrize("measure", [Measure.TTFT, Measure.TPOT])
def test_what_is_not_known_of_requests_in_flight_is_not_told_to_ray(measure: Measure) -> None:
    job = service_job(objective=ServiceObjective(measure, 0.2))
    made = exporter("ray-serve").export(job, Ceiling(1, 14, 10.0, 45))
    assert "target_ongoing_requests" not in made.text
    assert any("target_ongoing_requests" in note for note in made.notes)


def test_the_script_for_aws_does_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    text = exporter("aws-asg").export(service_job(), Ceiling(1, 14, 10.0, 20)).text
    calls = calls_of(text, tmp_path, RESOURCE_LABEL=LABEL)
    with mock_aws():
        client = boto3.client("autoscaling", region_name="us-east-1")
        client.create_launch_configuration(
            LaunchConfigurationName="x", ImageId="ami-12c6146b", InstanceType="t3.micro"
        )
        client.create_auto_scaling_group(
            AutoScalingGroupName="classify", LaunchConfigurationName="x", MinSize=3, MaxSize=40,
            AvailabilityZones=["us-east-1a"],
        )  # fmt: skip
        client.update_auto_scaling_group(**calls["update-auto-scaling-group"])
        client.put_scaling_policy(**calls["put-scaling-policy"])
        (group,) = client.describe_auto_scaling_groups()["AutoScalingGroups"]
        (policy,) = client.describe_policies()["ScalingPolicies"]
    assert (group["MinSize"], group["MaxSize"]) == (1, 14)
    assert policy["TargetTrackingConfiguration"]["TargetValue"] == 600.0


def test_the_script_for_aws_asks_for_the_load_balancer(tmp_path: Path) -> None:
    text = exporter("aws-asg").export(service_job(), Ceiling(1, 14, 10.0, 20)).text
    with pytest.raises(subprocess.CalledProcessError) as failed:
        calls_of(text, tmp_path)
    assert b"targetgroup/NAME/ID" in failed.value.stderr
    assert not (tmp_path / "calls").exists()


def test_the_script_for_azure_puts_its_setting_beside_the_scale_set(tmp_path: Path) -> None:
    text = exporter("azure-vmss").export(service_job("Classify it"), Ceiling(1, 14, 10.0, 20)).text
    url, _ = az_call(text, tmp_path)
    assert url == f"{GROUP}Microsoft.Insights/autoscaleSettings/classify-it?api-version=2022-10-01"


PARSERS = {
    "skyserve": (
        "from sky.serve.service_spec import SkyServiceSpec as S\n"
        "s = S.from_yaml_config(made['service'])\n"
        "print(json.dumps([s.min_replicas, s.max_replicas, s.target_qps_per_replica]))\n"
    ),
    "ray-serve": (
        "from ray.serve.schema import ServeDeploySchema as S\n"
        "d = S.model_validate(made).applications[0].deployments[0]\n"
        "from ray.serve.config import AutoscalingConfig\n"
        "a = AutoscalingConfig(**d.autoscaling_config)\n"
        "print(json.dumps([a.min_replicas, a.max_replicas, d.max_queued_requests]))\n"
    ),
    "azure-vmss": (
        "from azure.mgmt.monitor.models import AutoscaleSettingResource as S\n"
        "s = S.deserialize(made)\n"
        "assert s.serialize() == made\n"
        "(p,) = s.profiles\n"
        "target = p.rules[0].metric_trigger.threshold / 60\n"
        "print(json.dumps([int(p.capacity.minimum), int(p.capacity.maximum), target]))\n"
    ),
}


@pytest.mark.skipif(
    "MLBROKER_ENGINES_PYTHON" not in os.environ,
    reason="needs a Python with skypilot and ray[serve]: MLBROKER_ENGINES_PYTHON=…",
)
@pytest.mark.parametrize("engine", PARSERS)
@pytest.mark.parametrize("objective", [None, ServiceObjective(Measure.LATENCY, 2.0)])
def test_the_engine_s_own_parser_reads_it(
    engine: str, objective: ServiceObjective | None, tmp_path: Path
) -> None:
    job = service_job(objective=objective)
    text = exporter(engine).export(job, Ceiling(2, 14, 9.5, 19)).text
    if engine == "azure-vmss":
        text = json.dumps(az_call(text, tmp_path)[1])
    code = f"import json, sys, yaml\nmade = yaml.safe_load(sys.stdin)\n{PARSERS[engine]}"
    done = subprocess.run(
        [os.environ["MLBROKER_ENGINES_PYTHON"], "-c", code],
        input=text,
        capture_output=True,
        text=True,
        env=os.environ | {"HOME": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    last = json.loads(done.stdout.splitlines()[-1])
    assert last == [2, 14, {"skyserve": 9.5, "ray-serve": 19, "azure-vmss": 9.5}[engine]]
