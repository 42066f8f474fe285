"""Job files: SkyPilot's task format and the broker block, and what is refused, where and how."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from tests.support.job_texts import FULL, REFUSED, SKYPILOT

from mlbroker.broker.errors import InputError
from mlbroker.broker.files.env_flags import parse_env
from mlbroker.broker.files.job_file import load_job, load_jobs, parse_jobs
from mlbroker.pricing.book import Amount, Requirements
from mlbroker.pricing.offer import Gpu, Hardware, Market
from mlbroker.profiles.job import (
    Checkpoint,
    Data,
    DataLocation,
    Deadline,
    Job,
    Objective,
    ObjectiveKind,
    ProfileLimits,
    QueueTerms,
    Replicas,
    ResourceOption,
    SpotPolicy,
    TextRemedies,
    Work,
)
from mlbroker.profiles.search_space import Choice, Range, Study


def job_of(text: str) -> Job:
    (file,) = parse_jobs(text, "job.yaml", None)
    return file.job


def options_of(resources: str) -> tuple[ResourceOption, ...]:
    return job_of(f"run: x\nresources: {resources}\nbroker:\n").resources


def only_option(resources: str) -> ResourceOption:
    (option,) = options_of(resources)
    return option


def test_every_field(tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(FULL)
    file = load_job(path)
    assert file.job == Job(
        name="bert-ft",
        command="python train.py",
        setup="pip install -r requirements.txt",
        workdir=str(tmp_path),
        num_nodes=2,
        resources=(
            ResourceOption(Requirements(gpu_model="L4", gpu_count=1)),
            ResourceOption(Requirements(gpu_model="A100-40GB", gpu_count=1)),
            ResourceOption(Requirements(vcpus=Amount(8, at_least=True), gpu_count=0)),
        ),
        envs={"EPOCHS": "3", "LR": "1e-3", "COUNTRY": "NO"},
        secrets=("HF_TOKEN",),
        deadline=Deadline(duration_s=21600),
        confidence=0.95,
        budget_usd=Decimal(25),
        work=Work(12000, epochs=3, steps_per_epoch=4000),
        checkpoint=Checkpoint("ckpt/", 600),
        profile=ProfileLimits(Decimal(2), 300),
        data=Data(Decimal(40), Decimal("1.5"), DataLocation("aws", "us-east-1")),
        objective=Objective(ObjectiveKind.WEIGHTED, Decimal("0.1")),
        runs_per_month=30,
        spot_policy=SpotPolicy.VALUE_INDEX,
        progress=r"step (\d+)/",
        outputs=("model.bin", "runs/**/*.json"),
        queue=QueueTerms("vision", Decimal(2)),
        nlp=TextRemedies(trim=True, group=50),
        study=Study(
            metric="val_acc",
            more_is_better=True,
            space={
                "LEARNING_RATE": Range(1e-5, 0.1, log=True),
                "DROPOUT": Range(0.0, 0.5),
                "LAYERS": Range(1, 4, whole=True),
                "OPT": Choice(("sgd", "adam")),
            },
            resource="epoch",
            most=50,
            trials=200,
            start_from=("bert-small",),
            regex=r"epoch (?P<at>\d+) acc=(?P<metric>[0-9.]+)",
        ),
    )
    assert file.source == str(path)
    assert file.lines["broker.deadline"] == 11
    assert file.lines["broker.data.at"] == 17
    assert file.lines["resources.any_of[2].cpus"] == 5


def test_a_job_needs_only_a_command() -> None:
    assert job_of("run: python train.py\nbroker:") == Job(name="job", command="python train.py")


def test_the_file_gives_the_name_where_the_job_does_not() -> None:
    (file,) = parse_jobs("run: x", "some/fine tuning!.yaml", None)
    assert file.job.name == "fine-tuning"


def test_what_a_study_varies_is_read_as_it_is_written() -> None:
    text = "run: x\nbroker: {tune: {metric: a, goal: minimize, resource: {max: 3}, space: {%s}}}"
    spaces = {
        "A: [1, 4]": Range(1, 4, whole=True),
        "A: [-1, 1.0]": Range(-1, 1),
        "A: {log: [16, 256]}": Range(16, 256, log=True, whole=True),
        "A: {values: [1, 4]}": Choice(("1", "4")),
        "A: [1, 2, 4]": Choice(("1", "2", "4")),
        "A: [NO, on]": Choice(("NO", "on")),
        "A: [relu]": Choice(("relu",)),
    }
    for written, part in spaces.items():
        study = job_of(text % written).study
        assert study is not None
        assert study.space == {"A": part}
        assert study[3:] == ("epoch", 3, None, None, (), None)


def test_null_is_absent_everywhere() -> None:
    keys = "deadline confidence budget work checkpoint profile data objective runs_per_month"
    block = "".join(
        f"  {key}:\n" for key in [*keys.split(), "progress", "outputs", "queue", "tune"]
    )
    top = "".join(f"{key}: null\n" for key in ("name", "workdir", "num_nodes", "envs", "setup"))
    assert job_of(f"run: x\n{top}broker:\n{block}") == job_of("run: x\nbroker:\n")


def test_a_skypilot_task_is_read_unchanged_and_the_rest_is_named_once() -> None:
    job = job_of(SKYPILOT)
    assert job.resources == (
        ResourceOption(
            Requirements(
                vcpus=Amount(96, at_least=False),
                memory_gib=Amount(680, at_least=True),
                gpu_model="A100-80GB",
                gpu_count=8,
            ),
            cloud="gcp",
            region="us-central1",
            market=Market.SPOT,
            disk_gb=1024,
        ),
    )
    assert job.envs == {"MODEL": "13b"}
    assert set(job.secrets) == {"HF_TOKEN", "WANDB_API_KEY"}
    assert job.ignored == (
        "config",
        "the value of secrets.HF_TOKEN",
        "resources.ports",
        "resources.autostop",
    )
    assert [sentence.partition(":")[0] for sentence in job.said] == [
        "envs.WANDB_API_KEY has no value",
        "resources.disk_tier",
        "The job has a bucket of aws; how much it reads is not known, and no traffic is in its"
        " price",
    ]
    (missing,) = job.not_run
    assert missing.startswith("file_mounts: mlbroker mounts and copies nothing (/data from s3://")
    assert job.data.at == DataLocation("aws")
    assert "hf_abcdef" not in repr(job)


@pytest.mark.parametrize(
    ("accelerators", "expected"),
    [
        ("L4", [("L4", 1)]),
        ("l4:4", [("L4", 4)]),
        ('"V100:2"', [("V100-16GB", 2)]),
        ("{H100: 8}", [("H100", 8)]),
        ("H100-SXM:8", [("H100", 8)]),
        ("[L4:1, 'A10G:2']", [("L4", 1), ("A10G", 2)]),
        ("{L4:1, T4:2}", [("L4", 1), ("T4", 2)]),
        ("{'H100:1', A100-80GB}", [("H100", 1), ("A100-80GB", 1)]),
        ("T4:0.5", [("T4", 0.5)]),
        ("[{L4: 1}, {T4: 2}]", [("L4", 1), ("T4", 2)]),
        ("[{L4: 1, T4: 2}, A100]", [("L4", 1), ("T4", 2), ("A100-40GB", 1)]),
        ("[NVIDIA-H100-80GB-HBM3, nvidia-tesla-t4, NVIDIA-A100-SXM4-80GB, 'NVIDIA A10G']",
         [("H100", 1), ("T4", 1), ("A100-80GB", 1), ("A10G", 1)]),
        ("[RTX4090, 'NVIDIA GeForce RTX 4090:2', rtx-4090]",
         [("RTX4090", 1), ("RTX4090", 2), ("RTX4090", 1)]),
        ("[L40:1, a6000, RTX A6000, MI250X:8, tpu-v5litepod-8]",
         [("L40", 1), ("A6000", 1), ("RTXA6000", 1), ("MI250X", 8), ("TPUV5LITEPOD8", 1)]),
        ("{tpu-v5-lite-podslice: 4, tpu-v6e-slice: 8, H200-NVL, RTX6000-Ada, P4000, RTXPRO6000WS}",
         [("TPUV5LITEPODSLICE", 4), ("TPUV6ESLICE", 8), ("H200NVL", 1), ("RTX6000ADA", 1),
          ("P4000", 1), ("RTXPRO6000WS", 1)]),
    ],
)  # fmt: skip
def test_accelerators(accelerators: str, expected: list[tuple[str, float]]) -> None:
    options = options_of(f"{{accelerators: {accelerators}}}")
    found = [(o.requirements.gpu_model, o.requirements.gpu_count) for o in options]
    assert found == expected


@pytest.mark.parametrize(("block", "models"), [("", ["H100", "H100-NVL"]), ("broker:", ["H100"])])
def test_skypilots_h100_is_azures_nvl_form_too(block: str, models: list[str]) -> None:
    options = job_of(f"run: x\nresources: {{accelerators: H100:2}}\n{block}\n").resources
    assert [option.requirements.gpu_model for option in options] == models


@pytest.mark.parametrize(
    ("text", "memory", "count"),
    [
        ("40GB+", Amount(40, at_least=True), 1),
        ("80GB:8", Amount(80, at_least=False), 8),
        ("nvidia:24gb+:2", Amount(24, at_least=True), 2),
        ("{40GB+: 4}", Amount(40, at_least=True), 4),
    ],
)
def test_gpus_by_their_memory(text: str, memory: Amount, count: int) -> None:
    for key in ("accelerators", "gpus"):
        needs = only_option(f"{{{key}: {text}}}").requirements
        assert needs == Requirements(gpu_memory_gib=memory, gpu_count=count)
        assert needs.wants_gpu


def test_gpus_of_a_maker_by_their_memory() -> None:
    options = options_of("{accelerators: 'amd:192GB+:8'}")
    machine = Hardware(96, 1850, "x86_64", gpu=Gpu("MI300X", 192), gpu_count=8)
    assert any(option.requirements.unmet(machine) is None for option in options)
    nvidia = machine._replace(gpu=Gpu("B300", 288))
    assert all(option.requirements.unmet(nvidia) for option in options)


def test_a_cluster_s_accelerator_may_have_any_name() -> None:
    for place in ("infra: k8s/ctx", "cloud: kubernetes", "infra: ssh/rack", "infra: slurm/c/gpus"):
        needs = only_option(f"{{{place}, accelerators: mig-1g.10gb:2}}").requirements
        assert (needs.gpu_model, needs.gpu_count) == ("mig-1g.10gb", 2)


def test_a_partition_of_slurm_is_a_zone_and_its_accelerators_are_its_own() -> None:
    option = only_option("{infra: slurm/htc/short, accelerators: MI300A-big:2}")
    assert (option.cloud, option.region, option.zone) == ("slurm", "htc", "short")


def test_a_strategy_of_one_s_server_has_settings_of_its_own() -> None:
    assert only_option("{job_recovery: {strategy: DYNAMIC_NODE_SET, min_nodes: 8}, cpus: 4}")


def test_what_applies_in_place_of_a_recovery_strategy_is_said() -> None:
    job = job_of("run: x\nresources: {use_spot: true, job_recovery: FAILOVER}\n")
    (said,) = (sentence for sentence in job.said if "job_recovery" in sentence)
    assert "is followed by the next best place" in said
    assert "resources.job_recovery" not in job.ignored


def test_a_list_in_order_is_said_to_be_compared_by_cost() -> None:
    for accelerators, said in [("[A100, L4]", 1), ("{A100:1, L4:1}", 0), ("[L4]", 0)]:
        job = job_of(f"run: x\nresources: {{accelerators: {accelerators}}}\n")
        assert sum("not taken in order" in sentence for sentence in job.said) == said


def test_a_gpu_by_its_memory_is_checked_against_the_machine() -> None:
    needs = Requirements(gpu_memory_gib=Amount(40, at_least=True), gpu_count=1)
    machine = Hardware(vcpus=8, memory_gib=32, arch="x86_64", gpu=Gpu("X", 48), gpu_count=1)
    assert needs.unmet(machine) is None
    assert needs.unmet(machine._replace(gpu=Gpu("X", 24))) == "no GPU of 40+ GiB:1"
    assert needs.unmet(machine._replace(gpu_count=2)) == "2 X, asked for 1"
    assert needs.unmet(machine._replace(gpu=None, gpu_count=0)) == "no GPU of 40+ GiB:1"


def test_a_third_of_a_gpu_is_a_third_however_it_is_written() -> None:
    needs = only_option("{accelerators: 'A10:0.33'}").requirements
    third = Hardware(vcpus=12, memory_gib=110, arch="x86_64", gpu=Gpu("A10", 8), gpu_count=1 / 3)
    assert needs.unmet(third) is None
    assert needs.unmet(third._replace(gpu_count=0.5)) == "0.5 A10, asked for 0.33"


@pytest.mark.parametrize(
    ("resources", "key", "hint"),
    [
        ("{accelerator: L4:1}", "accelerator", "did you mean 'accelerators'?"),
        ("{cpu: 8}", "cpu", "did you mean 'cpus'?"),
        ("{any_of: [{L4: 1}]}", "L4", "known: "),
        ("{any_of: [{accelerator: L4}]}", "accelerator", "did you mean 'accelerators'?"),
    ],
)
def test_a_need_that_nobody_knows_is_refused(resources: str, key: str, hint: str) -> None:
    with pytest.raises(InputError, match=f"unknown key '{key}'") as caught:
        options_of(resources)
    assert caught.value.hint is not None
    assert caught.value.hint.startswith(hint)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cpus: 4", Requirements(vcpus=Amount(4, at_least=False))),
        ("cpus: 0.5+", Requirements(vcpus=Amount(0.5, at_least=True))),
        ("memory: 16+", Requirements(memory_gib=Amount(16, at_least=True))),
        ("memory: 512MB", Requirements(memory_gib=Amount(0.5, at_least=False))),
        ("memory: 2 TB", Requirements(memory_gib=Amount(2048, at_least=False))),
        ("memory: 1_000", Requirements(memory_gib=Amount(1000, at_least=False))),
        ("memory: 16Gi", Requirements(memory_gib=Amount(16, at_least=False))),
        ("memory: 512mi+", Requirements(memory_gib=Amount(0.5, at_least=True))),
        ("memory: 4x", Requirements(memory_gib_per_vcpu=4)),
    ],
)
def test_cpus_and_memory(text: str, expected: Requirements) -> None:
    assert only_option(f"{{{text}}}").requirements == expected


def test_memory_for_each_vcpu_is_checked_against_the_machine() -> None:
    needs = Requirements(memory_gib_per_vcpu=4)
    assert needs.unmet(Hardware(vcpus=8, memory_gib=32, arch="x86_64")) is None
    unmet = needs.unmet(Hardware(vcpus=8, memory_gib=16, arch="x86_64"))
    assert unmet == "2 GiB memory for each vCPU, asked for 4"


def test_places_and_markets() -> None:
    assert only_option("{infra: AWS}").cloud == "aws"
    option = only_option("{infra: aws/us-east-1/us-east-1a, use_spot: false}")
    assert (option.cloud, option.region, option.zone) == ("aws", "us-east-1", "us-east-1a")
    assert option.market is Market.ON_DEMAND
    option = only_option("{infra: '*/us-east-1'}")
    assert (option.cloud, option.region) == (None, "us-east-1")
    with_gpu = "n1-standard-4+nvidia-tesla-t4:1"
    assert only_option(f"{{instance_type: {with_gpu}}}").instance_type == with_gpu
    option = only_option("{cloud: GCP, region: us-central1, instance_type: n1-standard-4}")
    assert (option.cloud, option.region, option.instance_type, option.market) == (
        "gcp", "us-central1", "n1-standard-4", None,
    )  # fmt: skip
    assert only_option("{max_hourly_cost: 1.5}").max_price_per_hour_usd == Decimal("1.5")
    assert only_option("{disk_size: 1500MB}").disk_gb == 1
    assert only_option("{disk_size: 1_000}").disk_gb == 1000


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("infra: 'aws/*/us-east-1a'", ("aws", "us-east-1", "us-east-1a")),
        ("infra: '*/*/us-west-2-lax-1a'", (None, "us-west-2", "us-west-2-lax-1a")),
        ("cloud: gcp, zone: us-central1-a", ("gcp", "us-central1", "us-central1-a")),
        ("zone: eastus-1", (None, "eastus", "eastus-1")),
        ("infra: azure/eastus/1", ("azure", "eastus", "1")),
        ("infra: k8s/arn:eks:1:cluster/a", ("k8s", "arn:eks:1:cluster/a", None)),
    ],
)  # fmt: skip
def test_a_zone_tells_its_region(place: str, expected: tuple[str | None, ...]) -> None:
    option = only_option(f"{{{place}}}")
    assert (option.cloud, option.region, option.zone) == expected


def test_an_architecture_is_a_need() -> None:
    assert only_option("{cpus: 4}").requirements.arch is None
    assert only_option("{arch: amd64}").requirements.arch == "x86_64"
    with pytest.raises(InputError, match="write x86_64 or arm64"):
        only_option("{arch: sparc}")


def test_an_image_has_an_architecture() -> None:
    assert only_option("{image_id: ami-1}").requirements.arch == "x86_64", "most images are"
    assert only_option("{image_id: a:ubuntu:22-arm64:latest}").requirements.arch == "arm64"
    assert only_option("{image_id: ami-1, arch: aarch64}").requirements.arch == "arm64"
    assert only_option("{image_id: ami-1, instance_type: c7g.large}").requirements.arch is None


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("ami-1", ("aws", "ami-1")),
        ("projects/p/global/images/i", ("gcp", "projects/p/global/images/i")),
        ("dsvm:ubuntu-2004:2004:21.11", ("azure", "dsvm:ubuntu-2004:2004:21.11")),
        ("/subscriptions/s/images/i", ("azure", "/subscriptions/s/images/i")),
        ("docker:nvcr.io/nvidia/pytorch:24.01-py3", (None, None)),
        ("skypilot:gpu-ubuntu-2004", (None, None)),
    ],
)  # fmt: skip
def test_an_image_has_a_cloud(image: str, expected: tuple[str | None, ...]) -> None:
    job = job_of(f"run: x\nresources: {{image_id: '{image}'}}\nbroker:\n")
    (option,) = job.resources
    assert (option.cloud, option.image_id) == expected
    assert bool(job.not_run) == image.startswith("docker:"), "no containers are started"
    assert bool(job.said) == image.startswith(("ami-", "skypilot:")), "in which region? whose?"


def test_images_by_region_are_alternatives() -> None:
    images = "image_id: {us-east-1: ami-1, us-west-2: ami-2}"
    assert only_option(f"{{infra: aws/us-west-2, {images}}}").image_id == "ami-2"
    options = options_of(f"{{{images}, accelerators: [L4, T4]}}")
    found = [(o.cloud, o.region, o.image_id) for o in options]
    assert found[::2] == [("aws", "us-east-1", "ami-1"), ("aws", "us-west-2", "ami-2")]


def test_alternatives_take_over_what_is_common() -> None:
    first, second, third, fourth = options_of(
        "{infra: aws/us-east-1/us-east-1a, cpus: 4+, use_spot: true, gpus: T4, any_of: "
        "[{accelerators: L4}, {infra: gcp, cpus: 8}, {region: eu-west-1, use_spot: false},"
        " {cloud: azure}]}"
    )
    assert (first.cloud, first.requirements.gpu_model, first.market) == ("aws", "L4", Market.SPOT)
    assert (second.cloud, second.requirements.vcpus) == ("gcp", Amount(8, at_least=False))
    assert (third.cloud, third.region, third.zone) == ("aws", "eu-west-1", None)
    assert (third.market, third.requirements.gpu_model) == (Market.ON_DEMAND, "T4")
    assert (fourth.cloud, fourth.region) == ("azure", None)


def test_an_alternative_without_a_gpu_does_not_get_another_one_s() -> None:
    _, cpu = options_of("{any_of: [{accelerators: A100}, {cpus: 8+}]}")
    machine = Hardware(vcpus=8, memory_gib=32, arch="x86_64", gpu=Gpu("T4", 16), gpu_count=1)
    assert cpu.requirements.unmet(machine) == "a T4, asked for no GPU"
    assert cpu.requirements.unmet(machine._replace(gpu=None, gpu_count=0)) is None
    assert only_option("{cpus: 8+}").requirements.unmet(machine) is None, "asks for none: may have"


@pytest.mark.parametrize(
    ("rest", "at", "missing"),
    [
        ("file_mounts: {/d: {source: 'gs://b', mode: COPY}, /c: ./c}", "gcp", "/d from gs://b, /c"),
        ("file_mounts: {/d: 'https://a.blob.core.windows.net/c'}", "azure", "/d from https"),
        ("file_mounts: {/o: {name: c, store: s3}, /i: {source: [a]}}", "aws", "/o from c, /i"),
        ("file_mounts: {/a: 's3://x', /b: 'gs://y'}", None, "file_mounts"),
        ("storage_mounts: {/b: {name: n}}", None, "storage_mounts"),
        ("volumes: {/mnt/data: vol}", None, "volumes"),
        ("resources: {volumes: [{name: v, path: /mnt}]}", None, "resources.volumes"),
        ("volume_mounts: [{path: /mnt, volume_name: v}]", None, "volume_mounts"),
        ("managed_secrets: [{KEY: {mount_path: /k}}]", None, "puts no secrets into files"),
        ("resources: {image_id: {us-east-1: ami-1, docker: 'ubuntu:22.04'}}", None, "ubuntu:22.04"),
        ("run:\nsetup: pip install x", None, "run: is missing"),
        ("run:\nfile_mounts:\nnum_nodes: 2\nconfig: {}", None, "run: is missing"),
        ("workdir: {url: 'https://github.com/a/b', ref: main}", None, "workdir: mlbroker fetches"),
        ("run:\nresources: {cpus: 4}", None, "run: is missing"),
    ],
)  # fmt: skip
def test_what_a_run_would_miss(rest: str, at: str | None, missing: str) -> None:
    job = job_of(f"run: x\n{rest}\n" if not rest.startswith("run") else f"{rest}\n")
    assert job.data.at == (at and DataLocation(at))
    assert [missing in reason for reason in job.not_run] == [True]


def test_traffic_of_a_region_nobody_named_is_said() -> None:
    (said,) = job_of("run: x\nbroker: {data: {input_gb: 4, at: aws}}\n").said
    assert "In which region of aws the data lies is not known" in said
    assert job_of("run: x\nbroker: {data: {input_gb: 4, at: aws/us-east-1}}\n").said == ()


def test_a_checkpoint_has_a_size_where_something_is_saved() -> None:
    job = job_of("run: x\nbroker: {data: {checkpoint_gb: 2}, checkpoint: {path: c, every: 9m}}\n")
    assert (job.data.checkpoint_gb, job.said) == (Decimal(2), ())
    (said,) = job_of("run: x\nbroker: {data: {checkpoint_gb: 2}}\n").said
    assert "counts nothing, as nothing is saved" in said
    assert job_of("run: x\n").data.checkpoint_gb is None


def test_what_a_task_says_of_its_data_is_read() -> None:
    text = "run: x\ninputs: {'gs://b/in': 150}\noutputs: {'gs://b/out': 2.5}\n"
    assert job_of(text).data == Data(Decimal(150), Decimal("2.5"), DataLocation("gcp"))
    own = job_of(text + "broker: {data: {input_gb: 4, at: aws/us-east-1}}\n").data
    assert own == Data(Decimal(4), Decimal(0), DataLocation("aws", "us-east-1"))


def test_several_documents_are_several_jobs() -> None:
    text = "name: pipeline\n---\nname: a\nrun: x\n---\nname: b\nrun: y\n"
    files = parse_jobs(text, "job.yaml", None)
    assert [file.job.name for file in files] == ["a", "b"]
    assert files[1].lines["run"] == 7


def test_values_are_kept_as_written_but_for_secrets() -> None:
    (file,) = parse_jobs(SKYPILOT, "job.yaml", None)
    assert file.values["resources.disk_size"] == "1TB"
    assert not any(key.startswith("secrets") for key in file.values)


def test_one_job_is_asked_of_a_file_with_two(tmp_path: Path) -> None:
    path = tmp_path / "two.yaml"
    path.write_text("name: a\nrun: x\n---\nname: b\nrun: y\n")
    assert len(load_jobs(path)) == 2
    with pytest.raises(InputError, match=r"holds 2 stages, a pipeline \(a, b\)"):
        load_job(path)


def test_workdir_starts_at_the_job_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = tmp_path / "project"
    (project / "src").mkdir(parents=True)
    (project / "jobs").mkdir()
    path = project / "jobs" / "job.yaml"
    path.write_text("workdir: ../${PART}\nenvs: {PART: src}\nrun: x\n")
    monkeypatch.chdir(tmp_path)
    assert load_job(Path("project/jobs/job.yaml")).job.workdir == str(project / "src")


def test_a_workdir_is_also_looked_for_where_the_call_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SkyPilot looks there alone; a file with `broker:` means its own folder first."""
    (tmp_path / "jobs" / "both").mkdir(parents=True)
    (tmp_path / "both").mkdir()
    (tmp_path / "src").mkdir()
    monkeypatch.chdir(tmp_path)
    path = Path("jobs/job.yaml")
    for workdir, block, expected in [
        ("src", "broker:\n", "src"), ("both", "broker:\n", "jobs/both"), ("both", "", "both"),
        (".", "", "."), (".", "broker:\n", "jobs"),
    ]:  # fmt: skip
        path.write_text(f"run: x\nworkdir: {workdir}\n{block}")
        job = load_job(path).job
        assert job.workdir == str(tmp_path / expected)
        told = [sentence for sentence in job.said if sentence.startswith("workdir")]
        assert bool(told) != expected.startswith("jobs"), "which is said unless it is the usual one"
    path.write_text("run: x\nworkdir: nowhere\n")
    with pytest.raises(InputError, match="there is no folder 'nowhere'") as caught:
        load_job(path)
    assert f"{tmp_path / 'jobs'} or in {tmp_path}" in str(caught.value.hint)
    job = load_job(path, needs_folder=False).job
    assert "workdir: there is no folder 'nowhere'; a run needs it." in job.said


def test_variables_are_what_skypilot_sets_them_to() -> None:
    written = {"A": "true", "B": "3.10", "C": "1e-3", "D": "0123", "E": '"true"', "F": "NO",
               "G": "2024-01-01", "H": "2024-02-30", "I": "a b", "J": "1.0e-4"}  # fmt: skip
    text = "run: x\nenvs:\n" + "".join(f"  {name}: {value}\n" for name, value in written.items())
    assert job_of(text).envs == {
        "A": "True", "B": "3.1", "C": "1e-3", "D": "83", "E": "true", "F": "False",
        "G": "2024-01-01", "H": "2024-02-30", "I": "a b", "J": "0.0001",
    }  # fmt: skip
    ours = job_of(text + "broker:\n").envs
    assert ours == {**written, "E": "true"}, "as they are written"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("secrets: ['secrets:HF_TOKEN', 'secrets:workspace.KEY']", ("HF_TOKEN", "KEY")),
        ("secrets: {'secrets:personal.HF_TOKEN': null, A: null}", ("HF_TOKEN", "A")),
        ("managed_secrets: [global.KEY, A]\nsecrets: {A: null}", ("A", "KEY")),
    ],
)
def test_secrets_that_skypilot_keeps_are_read_from_the_environment_here(
    text: str, expected: tuple[str, ...]
) -> None:
    assert job_of(f"run: x\n{text}\n").secrets == expected


@pytest.mark.parametrize(("word", "spot"), [("yes", True), ("On", True), ("no", False)])
def test_a_flag_is_what_skypilot_reads(word: str, spot: bool) -> None:
    assert only_option(f"{{use_spot: {word}}}").market == (
        Market.SPOT if spot else Market.ON_DEMAND
    )


def test_variables_of_the_call() -> None:
    text = "run: x\nenvs: {A: 1, B: 2, C: null, D: null}\nsecrets: {S: null}\n"
    env = parse_env(["A=one=1", "C=", "E=new", "D", "D"], {"D": "d"})
    (file,) = parse_jobs(text, "job.yaml", None, env=env)
    assert file.job.envs == {"A": "one=1", "B": "2", "C": "", "E": "new"}
    assert file.job.secrets == ("S", "D"), "its value is never kept"
    assert not any(sentence.startswith("envs.") for sentence in file.job.said)
    (unset,) = parse_jobs(text, "job.yaml", None)
    assert [s.partition(" ")[0] for s in unset.job.said if s.startswith("envs")] == [
        "envs.C", "envs.D",
    ]  # fmt: skip
    for flag, message in [("1A=x", "not the name"), ("NOWHERE", "environment has no NOWHERE")]:
        with pytest.raises(InputError, match=message):
            parse_env([flag], {})
    with pytest.raises(InputError, match="S is a secret of the job"):
        parse_jobs(text, "job.yaml", None, env=parse_env(["S=1"], {}))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("service: {replicas: 2, readiness_probe: /}", Replicas("service", 2, 2)),
        (
            "service: {replica_policy: {min_replicas: 0, max_replicas: 3}}",
            Replicas("service", 0, 3),
        ),
        ("service: {readiness_probe: /v1}", Replicas("service", 1, 1)),
        ("service: {pool: {min_workers: 2, max_workers: 5}}", Replicas("service", 2, 5)),
        ("service: {workers: 3}", Replicas("service", 3, 3)),
        ("pool: {workers: 4}", Replicas("pool", 4, 4)),
        ("pool: {min_workers: 1, max_workers: 4}", Replicas("pool", 1, 4)),
    ],
)  # fmt: skip
def test_services_and_pools_are_no_jobs(text: str, expected: Replicas) -> None:
    job = job_of(f"run: x\n{text}\n")
    assert job.replicas == expected
    assert [reason.partition(":")[0] for reason in job.not_run] == [expected.kind]


def test_an_absolute_moment() -> None:
    job = job_of("run: x\nbroker: {deadline: 2026-11-30T18:00+01:00}")
    assert job.deadline == Deadline(at=datetime(2026, 11, 30, 17, tzinfo=UTC))


@pytest.mark.parametrize("text", REFUSED)
def test_bad_values_name_file_line_and_key(text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_jobs(text, "job.yaml", None)
    message = str(caught.value)
    assert REFUSED[text] in message
    line = text.count("\n") + 1
    assert message.startswith(f"job.yaml:{line}: ")
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("workdir", "expected"),
    [("nowhere", "there is no folder 'nowhere'"), ("job.yaml", "is not a folder"),
     ("x" * 5000, "workdir"), ("~nobody-of-that-name/x", "workdir")],
)  # fmt: skip
def test_a_workdir_must_be_a_folder(workdir: str, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(f"workdir: {workdir}\nrun: x\n")
    with pytest.raises(InputError) as caught:
        load_job(path)
    assert expected in str(caught.value)
    assert caught.value.where == f"{path}:1"


@pytest.mark.parametrize(
    ("install", "arch"),
    [
        ("flash_attn @ https://host/flash_attn-2.5-cp310-cp310-linux_x86_64.whl", "x86_64"),
        ("torch==2.3.0+cu121", "x86_64"),
        ("--index-url https://download.pytorch.org/whl/cu121", "x86_64"),
        ("torch==2.3.0", None),
        ("# torch==2.3.0+cu121", None),
        ("a_x86_64.whl ; platform_machine == 'x86_64'\na_aarch64.whl", None),
    ],
)
def test_wheels_for_one_architecture_make_it_the_default(
    tmp_path: Path, install: str, arch: str | None
) -> None:
    (tmp_path / "requirements.txt").write_text(f"numpy\n{install}\n")
    for setup in ("pip install -r requirements.txt", f"pip install {install.splitlines()[0]}"):
        text = json.dumps({"name": "j", "run": "true", "setup": setup, "broker": {}})
        [file] = parse_jobs(text, "job.yaml", tmp_path)
        expected = None if setup.endswith("'x86_64'") else arch
        assert file.job.resources[0].requirements.arch == expected
        assert bool(file.job.said) == (expected is not None)
    chosen = json.dumps({"run": "true", "setup": setup, "resources": {"arch": "arm64"}})
    [file] = parse_jobs(chosen, "job.yaml", tmp_path)
    assert file.job.resources[0].requirements.arch == "arm64"


def test_a_requirements_file_that_is_not_there_says_nothing(tmp_path: Path) -> None:
    text = json.dumps({"run": "true", "setup": "pip install -r made/by/setup.txt"})
    [file] = parse_jobs(text, "job.yaml", tmp_path)
    assert file.job.resources[0].requirements.arch is None
