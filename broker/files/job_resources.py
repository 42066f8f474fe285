"""The `resources:` field, in SkyPilot's syntax, as alternatives of machines that will do."""

import re
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import NamedTuple

from mlbroker.broker.errors import InputError
from mlbroker.broker.files.values import (
    matching,
    parse_count,
    parse_flag,
    parse_money_usd,
    parse_number,
)
from mlbroker.broker.files.yaml_fields import Fields, nearest_hint
from mlbroker.broker.files.yaml_strict import Node, quoted
from mlbroker.pricing.book import Amount, Requirements
from mlbroker.pricing.gpu_names import GPU_MODELS, gpu_model, unsold_model
from mlbroker.pricing.offer import Market
from mlbroker.profiles.job import DataLocation, ResourceOption

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
    "max_hourly_cost",
    "memory",
    "ordered",
    "region",
    "use_spot",
    "zone",
)
# SkyPilot's, about a cluster's life or its network: nothing that the choice of a machine rests on.
_LEFT_ALONE = (
    "accelerator_args",
    "autostop",
    "disk_tier",
    "job_recovery",
    "labels",
    "network_tier",
    "ports",
    "priority",
    "spot_recovery",
    "volumes",
)
_MAX_ALTERNATIVES = 1000
# A name as clouds use them.
_name = matching(
    r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}",
    "a name",
    "letters, digits, dot, dash and underscore only",
)
_image_name = matching(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,299}", "the name of an image")
_ARCHITECTURES = {
    "x86_64": "x86_64", "amd64": "x86_64", "arm64": "arm64", "aarch64": "arm64",
}  # fmt: skip
# SkyPilot counts in powers of two: its GB is a GiB.
_UNIT_GIB = {
    "KB": Decimal(1) / 2**20,
    "MB": Decimal(1) / 2**10,
    "GB": Decimal(1),
    "TB": Decimal(2**10),
    "PB": Decimal(2**20),
}


def read_resources(node: Node, source: str) -> tuple[tuple[ResourceOption, ...], list[str]]:
    """The alternatives, and the names of the fields that mlbroker leaves alone."""
    common = Fields(node, "resources", source)
    ignored = _left_alone(common)
    lists = [key for key in ("any_of", "ordered") if common.node(key) is not None]
    if len(lists) == 2:
        common.fail("ordered", "any_of and ordered exclude each other", "keep one of them")
    if not lists:
        return _options(common), ignored
    (key,) = lists
    alternatives = common.node(key)
    if alternatives is None or not alternatives.items:
        common.fail(key, "must be a list of alternatives", "[{accelerators: L4:1}, {cpus: 8+}]")
    options: list[ResourceOption] = []
    for index, alternative in enumerate(alternatives.items):
        fields = Fields(_over(node, alternative), f"resources.{key}[{index}]", source)
        if alternative.fields is None:
            Fields(alternative, fields.path, source)
        for inner in alternative.fields or {}:
            if inner in ("any_of", "ordered"):
                fields.fail(inner, "alternatives cannot hold alternatives")
        ignored += _left_alone(fields, alternative.fields)
        options += _options(fields)
        if len(options) > _MAX_ALTERNATIVES:
            common.fail(key, f"more than {_MAX_ALTERNATIVES} alternatives")
    return tuple(options), ignored


def _left_alone(fields: Fields, keys: Iterable[str] | None = None) -> list[str]:
    """Names of those of the `keys`, all by default, that may be left alone. A misspelt need would
    be no need, so one that nobody knows is refused."""
    fields.refuse_unknown((*KNOWN, *_LEFT_ALONE))
    return [fields.name_of(key) for key in (fields if keys is None else keys) if key in _LEFT_ALONE]


def _over(common: Node, alternative: Node) -> Node:
    """The common fields with an alternative's own over them."""
    merged = Node(alternative.line)
    shared = {k: v for k, v in (common.fields or {}).items() if k not in ("any_of", "ordered")}
    own = alternative.fields or {}
    if "infra" in own:
        for key in ("cloud", "region", "zone"):
            shared.pop(key, None)
    elif own.keys() & {"cloud", "region", "zone"}:
        shared.pop("infra", None)
    merged.fields = {**shared, **own}
    return merged


def _options(fields: Fields) -> tuple[ResourceOption, ...]:
    cloud, region, zone = _place(fields)
    spot = fields.value("use_spot", parse_flag)
    memory = fields.value("memory", _memory)
    cpus = fields.value("cpus", _cpus)
    image, named = _image(fields, region), fields.value("instance_type", _name)
    arch = fields.value("arch", _arch) or (_arch_of(image) if image and not named else None)
    return tuple(
        ResourceOption(
            requirements=Requirements(
                vcpus=cpus,
                memory_gib=memory if isinstance(memory, Amount) else None,
                memory_gib_per_vcpu=memory if isinstance(memory, float) else None,
                gpu_model=gpu.model,
                gpu_memory_gib=gpu.memory_gib,
                gpu_count=gpu.gpu_count,
                arch=arch,
            ),
            cloud=cloud,
            region=region,
            zone=zone,
            instance_type=named,
            market=None if spot is None else Market.SPOT if spot else Market.ON_DEMAND,
            disk_gb=fields.value("disk_size", _disk_gb) or ResourceOption().disk_gb,
            image_id=image,
            max_price_per_hour_usd=fields.value("max_hourly_cost", parse_money_usd),
        )
        for gpu in _accelerators(fields)
    )


def parse_place(text: str) -> DataLocation:
    """`aws` or `aws/us-east-1`."""
    cloud, region, zone = _split_infra(text)
    if cloud is None or zone is not None:
        raise InputError(f"{quoted(text)} is not a place", hint="write aws or aws/us-east-1")
    return DataLocation(cloud, region)


def _place(fields: Fields) -> tuple[str | None, str | None, str | None]:
    infra = fields.value("infra", _split_infra)
    apart = [key for key in ("cloud", "region", "zone") if fields.node(key) is not None]
    if infra is not None:
        if apart:
            fields.fail(apart[0], f"infra and {apart[0]} exclude each other", "keep infra")
        return infra
    cloud = fields.value("cloud", _name)
    return cloud and cloud.lower(), fields.value("region", _name), fields.value("zone", _name)


def _split_infra(text: str) -> tuple[str | None, str | None, str | None]:
    parts = text.strip().split("/")
    if len(parts) > 3 or not all(parts):
        raise InputError(
            f"{quoted(text)} is not a place", hint="write cloud, cloud/region or cloud/region/zone"
        )
    cloud, region, zone = (None if part == "*" else _name(part) for part in [*parts, "*", "*"][:3])
    return cloud and cloud.lower(), region, zone


def _image(fields: Fields, region: str | None) -> str | None:
    node = fields.node("image_id")
    if node is not None and node.fields is not None:
        images = Fields(node, fields.name_of("image_id"), fields.source)
        if region is None or images.node(region) is None:
            fields.fail(
                "image_id", "images by region need `region` with one of them", "name one image"
            )
        return images.value(region, _image_name)
    return fields.value("image_id", _image_name)


def _arch(text: str) -> str:
    if text not in _ARCHITECTURES:
        raise InputError(f"{quoted(text)} is no architecture", hint="write x86_64 or arm64")
    return _ARCHITECTURES[text]


def _arch_of(image: str) -> str:
    """Images are made for one architecture; without another word in the name that is x86-64."""
    return "arm64" if any(mark in image.lower() for mark in ("arm", "aarch64")) else "x86_64"


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
    if unit == 1 and number == text.strip():
        return parse_count(number, 1_000_000)
    hint = "write 100, 100GB or 1TB"
    return parse_count(str(int(Decimal(str(_amount(number, hint).value)) * unit)), 1_000_000)


def _number_and_unit(text: str) -> tuple[str, Decimal]:
    stripped = text.strip()
    unit = _UNIT_GIB.get(stripped[-2:].upper())
    return (stripped, Decimal(1)) if unit is None else (stripped[:-2].rstrip(), unit)


class _Accelerator(NamedTuple):
    """What is asked for: a model, or any with so much memory (GiB each); None for no GPU."""

    gpu_count: float | None
    model: str | None = None
    memory_gib: Amount | None = None


def _accelerators(fields: Fields) -> list[_Accelerator]:
    """Each acceptable one: `L4:1`, `L4`, `{L4: 1}`, `[L4:1, A100:1]`, `[{L4: 1}, {T4: 1}]`,
    `{L4:1, T4:1}`, `40GB+`.
    """
    if fields.node("gpus") is not None:
        if fields.node("accelerators") is not None:
            fields.fail("gpus", "gpus and accelerators are one field", "keep one of them")
        key = "gpus"
    else:
        key = "accelerators"
    node = fields.node(key)
    if node is None:
        return [_Accelerator(None)]
    found = [_accelerator(fields, key, text) for text in _accelerator_texts(fields, key, node)]
    if not found:
        fields.fail(key, "names no accelerator", "leave the field out")
    return found


def _accelerator_texts(fields: Fields, key: str, node: Node) -> Iterator[str]:
    if node.text is not None:
        yield node.text
    for item in node.items or []:
        if item.items is not None or item.is_null:
            fields.fail(key, "each entry must be a name such as L4:1")
        yield from _accelerator_texts(fields, key, item)
    for name, (_, count) in (node.fields or {}).items():
        if count.text is None:
            fields.fail(key, f"the count of {quoted(name)} must be a number")
        yield name if count.is_null else f"{name}:{count.text}"


# SkyPilot's: any GPU with just so much memory, or at least so much; a maker may stand before it.
_BY_MEMORY = re.compile(r"(?:(nvidia):)?(\d+(?:\.\d+)?)(?:GB|GiB)(\+?)", re.IGNORECASE)


def _accelerator(fields: Fields, key: str, text: str) -> _Accelerator:
    stripped = text.strip()
    by_memory = _BY_MEMORY.match(stripped)
    name = by_memory[0] if by_memory else stripped.partition(":")[0]
    colon, count = stripped[len(name) : len(name) + 1], stripped[len(name) + 1 :]
    number = fields.parsed(key, count, parse_number) if colon else Decimal(1)
    if not 0 < number <= 1024:
        fields.fail(key, f"{quoted(text)}: the count must be from above 0 to 1024")
    if by_memory is not None and colon in (":", "") and float(by_memory[2]) > 0:
        memory = Amount(float(by_memory[2]), at_least=bool(by_memory[3]))
        return _Accelerator(float(number), memory_gib=memory)
    model = gpu_model(name) or unsold_model(name)
    if model is None:
        hint = nearest_hint(name, GPU_MODELS)
        fields.fail(key, f"unknown accelerator {quoted(name)}", hint)
    return _Accelerator(float(number), model)
