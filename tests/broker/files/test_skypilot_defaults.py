"""What a task without a `broker:` block gets where it says nothing: what SkyPilot would take."""

import pytest

from mlbroker.broker.files.job_file import parse_jobs
from mlbroker.policies.candidates import Filters, admitted_markets
from mlbroker.pricing.offer import Gpu, Hardware, InstanceType, Market
from mlbroker.profiles.job import Job


def job_of(resources: str, rest: str = "") -> Job:
    (file,) = parse_jobs(f"run: x\nresources: {{{resources}}}\n{rest}", "job.yaml", None)
    return file.job


def machine(vcpus: float, memory_gib: float, gpu: str = "", count: float = 1) -> Hardware:
    sheet = Gpu(gpu, 16) if gpu else None
    return Hardware(vcpus, memory_gib, "x86_64", gpu=sheet, gpu_count=count if gpu else 0)


@pytest.mark.parametrize(
    ("resources", "will_do", "too_small"),
    [
        ("", machine(8, 32), machine(8, 16)),
        ("", machine(16, 64), machine(4, 16)),
        ("", machine(8, 32), machine(8, 32)._replace(arch="arm64")),
        ("arch: arm64", machine(8, 32)._replace(arch="arm64"), None),
        ("cpus: 4", machine(4, 16), machine(4, 8)),
        ("memory: 8+", machine(1, 8), None),
        ("accelerators: V100", machine(8, 61, "V100-16GB"), machine(1, 4, "V100-16GB")),
        ("gpus: V100:4", machine(32, 208, "V100-16GB", 4), machine(16, 104, "V100-16GB", 4)),
        ("accelerators: T4", machine(4, 16, "T4"), machine(2, 13, "T4")),
        ("accelerators: T4:4", machine(48, 192, "T4", 4), machine(16, 104, "T4", 4)),
        ("accelerators: V100, cpus: 2", machine(2, 13, "V100-16GB"), None),
        ("accelerators: L4", machine(4, 16, "L4"), None),
        ("accelerators: T4:0.5", machine(1, 4, "T4", 0.5), None),
        ("instance_type: t3.micro", machine(2, 1), None),
    ],
)  # fmt: skip
def test_sizes_where_the_task_says_none(
    resources: str, will_do: Hardware, too_small: Hardware | None
) -> None:
    for rest in ("", "broker: {deadline: 6h}\n"):
        (option,) = job_of(resources, rest).resources
        assert option.unmet(InstanceType("aws", "t3.micro", will_do)) is None
        if too_small is not None:
            rented = option.unmet(InstanceType("gcp", "t3.micro", too_small))
            assert (rented is None) == bool(rest), "with `broker:` any size will do"
            named = option.unmet(InstanceType("gcp", "t3.micro", too_small), named=True)
            assert named is None
            assert option.unmet(InstanceType("ssh", "node", too_small)) is None, "one's own"


def test_it_is_said_in_one_line() -> None:
    (said,) = job_of("accelerators: {V100: 2, L4: 1}").said
    assert "As SkyPilot does where a task says nothing: 12+ vCPUs and 64+ GiB beside 2" in said
    assert "on demand (`use_spot: true`" in said
    assert job_of("", "broker: {deadline: 6h}\n").said == ()
    assert job_of("use_spot: true, cpus: 4, memory: 16, arch: amd64").said == ()
    assert ": x86-64. With" in job_of("use_spot: true, cpus: 4, memory: 16").said[0]
    (ordered, _) = job_of("ordered: [{cpus: 4}, {cpus: 8}]").said
    assert ordered == "resources.ordered: compared by what each costs, not taken in order."
    assert (job_of("").resources[0].disk_gb, job_of("disk_size: 50").resources[0].disk_gb) == (
        256,
        50,
    )


def test_it_is_on_demand_unless_somebody_says_otherwise() -> None:
    (plain,), (spot,) = job_of("").resources, job_of("use_spot: true").resources
    (chosen,) = job_of("", "broker: {deadline: 6h}\n").resources
    flag = Filters(markets=(Market.SPOT,))
    assert admitted_markets(plain, Filters()) == [Market.ON_DEMAND]
    assert admitted_markets(plain, flag) == [Market.SPOT]
    assert admitted_markets(spot, Filters()) == [Market.SPOT]
    assert admitted_markets(chosen, Filters()) == list(Market)
    (never,) = job_of("use_spot: false").resources
    assert admitted_markets(never, flag) == []
