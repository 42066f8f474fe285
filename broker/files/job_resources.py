"""The `resources:` field, in SkyPilot's syntax, as alternatives of machines that will do."""

from collections.abc import Iterable
from decimal import Decimal

from mlbroker.broker.errors import InputError
from mlbroker.broker.files.job_accelerators import KEYS as ACCELERATORS
from mlbroker.broker.files.job_accelerators import NOT_IN_ORDER, read_accelerators
from mlbroker.broker.files.job_places import (
    CLUSTERS,
    LEVELS,
    inherited_place,
    parse_arch,
    read_images,
    read_place,
)
from mlbroker.broker.files.remarks import Remarks
from mlbroker.broker.files.skypilot_defaults import DISK_GB
from mlbroker.broker.files.skypilot_keys import check_machine, parse_flag
from mlbroker.broker.files.skypilot_rest import NO_VOLUMES
from mlbroker.broker.files.values import (
    matching,
    parse_count,
    parse_money_usd,
    parse_number,
)
from mlbroker.broker.files.yaml_fields import Fields
from mlbroker.broker.files.yaml_strict import Node, quoted
from mlbroker.pricing.book import Amount, Requirements
from mlbroker.pricing.offer import Market
from mlbroker.profiles.job import ResourceOption

KNOWN = (
    "accelerators",
    "any_of",
    "arch",
    "cloud",
    "cpus",
    "disk_size",
    "gpus",
    "image_id",
    "infra",
    "instance_type",
    "local_disk",
    "max_hourly_cost",
    "memory",
    "ordered",
    "region",
    "use_spot",
    "zone",
)
_RECOVERY = (
    "a machine that is taken is followed by the next best place of the plan, or by what the spot"
    " policy wants, in no order of SkyPilot's; a job that fails by itself is not repeated"
)
# SkyPilot's that the cost or the end rests on, and what is done in their place.
_NOT_PLANNED = {
    "accelerator_args": "it is for TPUs, which no cloud of the price book sells",
    "job_recovery": _RECOVERY,
    "spot_recovery": _RECOVERY,
    "disk_tier": "disks are planned, and started, in their cloud's usual tier",
    "network_tier": "machines are planned, and started, on their cloud's usual network",
}
# SkyPilot's, about a cluster's life or its network: nothing that the choice of a machine rests on.
_LEFT_ALONE = (
    "autostop",
    "labels",
    "ports",
    "priority",
    "priority_class",
    "volumes",
    # Of the cluster's disk on Kubernetes, and what SkyPilot itself writes.
    "ephemeral_storage",
    "_cluster_config_overrides",
    "_docker_login_config",
    "_docker_username_for_runpod",
    "_is_image_managed",
    "_no_missing_accel_warnings",
    "_requires_fuse",
)
FIELDS = (*KNOWN, *_NOT_PLANNED, *_LEFT_ALONE)
_MAX_ALTERNATIVES = 1000
# With accelerators beside it, as the price book names those of N1: n1-standard-4+nvidia-tesla-t4:1.
_type_name = matching(
    r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}(\+[a-z0-9-]{1,63}:\d{1,2})?", "the name of a machine type"
)
# SkyPilot counts in powers of two: its GB is a GiB.
_UNIT_GIB = {
    "KB": Decimal(1) / 2**20,
    "MB": Decimal(1) / 2**10,
    "GB": Decimal(1),
    "TB": Decimal(2**10),
    "PB": Decimal(2**20),
}
_UNIT_GIB |= {f"{name[0]}I": size for name, size in _UNIT_GIB.items()}  # 16Gi, as Kubernetes has it


def read_resources(
    node: Node, source: str, remarks: Remarks, *, ours: bool
) -> tuple[ResourceOption, ...]:
    """The alternatives; what is left alone, and what must be said, goes to `remarks`."""
    common = Fields(node, "resources", source)
    _leave_alone(common, common, remarks)
    lists = [key for key in ("any_of", "ordered") if common.node(key) is not None]
    if len(lists) == 2:
        common.fail("ordered", "any_of and ordered exclude each other", "keep one of them")
    if not lists:
        return _options(common, remarks, ours)
    (key,) = lists
    if key == "ordered":
        remarks.said.append(f"resources.ordered: {NOT_IN_ORDER}")
    alternatives = common.node(key)
    if alternatives is None or not alternatives.items:
        common.fail(key, "must be a list of alternatives", "[{accelerators: L4:1}, {cpus: 8+}]")
    options: list[ResourceOption] = []
    for index, alternative in enumerate(alternatives.items):
        path = f"resources.{key}[{index}]"
        own = Fields(alternative, path, source)
        for inner in own:
            if inner in ("any_of", "ordered"):
                own.fail(inner, "alternatives cannot hold alternatives")
        _leave_alone(own, own, remarks)
        fields = Fields(_over(common, node, alternative), path, source)
        options += _options(fields, remarks, ours)
        if len(options) > _MAX_ALTERNATIVES:
            common.fail(key, f"more than {_MAX_ALTERNATIVES} alternatives")
    return tuple(map(_without_gpu, options)) if _some_want_gpu(options) else tuple(options)


def _some_want_gpu(options: Iterable[ResourceOption]) -> bool:
    return any(option.requirements.wants_gpu for option in options)


def _without_gpu(option: ResourceOption) -> ResourceOption:
    """The alternative to a GPU is a machine without one, not one with another GPU."""
    needs = option.requirements
    if needs.wants_gpu or option.instance_type is not None:
        return option
    return option._replace(requirements=needs._replace(gpu_count=0))


def _leave_alone(fields: Fields, keys: Iterable[str], remarks: Remarks) -> None:
    """Name what is of no use here. A misspelt need would be no need, so one that nobody knows is
    refused.
    """
    fields.refuse_unknown(FIELDS)
    check_machine(fields)
    for key in keys:
        name = fields.name_of(key)
        if key in _LEFT_ALONE:
            remarks.ignored.append(name)
        elif key in _NOT_PLANNED and fields.node(key) is not None:
            remarks.said.append(f"{name}: {_NOT_PLANNED[key]}.")
    if fields.node("volumes") is not None:
        remarks.not_run.append(f"{fields.name_of('volumes')}: {NO_VOLUMES}")


def _over(common: Fields, node: Node, alternative: Node) -> Node:
    """The common fields with an alternative's own over them."""
    merged, own = Node(alternative.line), alternative.fields or {}
    replaced = {"any_of", "ordered", "infra", *LEVELS}
    if own.keys() & set(ACCELERATORS):
        replaced.update(ACCELERATORS)
    shared = {key: value for key, value in (node.fields or {}).items() if key not in replaced}
    merged.fields = {**shared, **inherited_place(common, set(own)), **own}
    return merged


def _options(fields: Fields, remarks: Remarks, ours: bool) -> tuple[ResourceOption, ...]:
    spot = fields.value("use_spot", parse_flag)
    memory = fields.value("memory", _memory)
    cpus = fields.value("cpus", _cpus)
    named = fields.value("instance_type", _type_name)
    if fields.node("local_disk") is not None and named is None:
        fields.fail(
            "local_disk",
            "which machines have disks of their own is not known",
            "name an `instance_type` that has them",
        )
    arch, place = fields.value("arch", parse_arch), read_place(fields)
    # A cluster may have accelerators that no cloud sells, under names of its own.
    any_name = place.cloud in (*CLUSTERS, "slurm")
    accelerators = read_accelerators(fields, remarks, any_name=any_name, ours=ours)
    usual = ResourceOption() if ours else ResourceOption(disk_gb=DISK_GB)
    return tuple(
        ResourceOption(
            requirements=Requirements(
                vcpus=cpus,
                memory_gib=memory if isinstance(memory, Amount) else None,
                memory_gib_per_vcpu=memory if isinstance(memory, float) else None,
                gpu_model=gpu.model,
                gpu_memory_gib=gpu.memory_gib,
                gpu_count=gpu.gpu_count,
                arch=arch or (None if named else image.arch),
            ),
            cloud=image.place.cloud,
            region=image.place.region,
            zone=image.place.zone,
            instance_type=named,
            market=None if spot is None else Market.SPOT if spot else Market.ON_DEMAND,
            disk_gb=fields.value("disk_size", _disk_gb) or usual.disk_gb,
            image_id=image.name,
            max_price_per_hour_usd=fields.value("max_hourly_cost", parse_money_usd),
        )
        for image in read_images(fields, place, remarks)
        for gpu in accelerators
    )


def _cpus(text: str) -> Amount:
    return _amount(text, "write 4 or 4+")


def _amount(text: str, hint: str) -> Amount:
    number, plus = (text[:-1], True) if text.endswith("+") else (text, False)
    try:
        value = parse_number(number)
    except InputError:
        raise InputError(f"{quoted(text)} is not an amount", hint=hint) from None
    if value == 0:
        raise InputError("must be more than zero", hint=hint)
    return Amount(float(value), at_least=plus)


def _memory(text: str) -> Amount | float:
    """GiB, or GiB for each vCPU of `4x`."""
    hint = "write 16, 16+, 64GB or 4x (for each vCPU)"
    if text[-1:] in ("x", "X"):
        return _amount(text[:-1], hint).value
    plus = text.endswith("+")
    number, unit = _number_and_unit(text.removesuffix("+"))
    value = _amount(number, hint).value * float(unit)
    return Amount(value, at_least=plus)


def _disk_gb(text: str) -> int:
    """Whole GB, rounded down as SkyPilot does."""
    number, unit = _number_and_unit(text)
    if unit == 1 and number[-1:].isdigit():
        return parse_count(number, 1_000_000)
    hint = "write 100, 100GB or 1TB"
    return parse_count(str(int(Decimal(str(_amount(number, hint).value)) * unit)), 1_000_000)


def _number_and_unit(text: str) -> tuple[str, Decimal]:
    stripped = text.strip().replace("_", "")  # 1_000 is a number to SkyPilot's reader
    unit = _UNIT_GIB.get(stripped[-2:].upper())
    return (stripped, Decimal(1)) if unit is None else (stripped[:-2].rstrip(), unit)
