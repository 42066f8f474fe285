"""The `accelerators` of a job file, in SkyPilot's syntax: models, or any with so much memory."""

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import NamedTuple

from mlbroker.broker.files.remarks import Remarks
from mlbroker.broker.files.values import parse_number
from mlbroker.broker.files.yaml_fields import Fields, nearest_hint
from mlbroker.broker.files.yaml_strict import Node, quoted
from mlbroker.pricing.book import Amount
from mlbroker.pricing.gpu_names import GPU_MODELS, gpu_model, unsold_model

KEYS = ("accelerators", "gpus")
NOT_IN_ORDER = "compared by what each costs, not taken in order."


class Accelerator(NamedTuple):
    """What is asked for: a model, or any with so much memory (GiB each); None for no GPU."""

    gpu_count: float | None
    model: str | None = None
    memory_gib: Amount | None = None


def read_accelerators(
    fields: Fields, remarks: Remarks, *, any_name: bool, ours: bool
) -> list[Accelerator]:
    """Each acceptable one: `L4:1`, `L4`, `{L4: 1}`, `[L4:1, A100:1]`, `[{L4: 1}, {T4: 1}]`,
    `{L4:1, T4:1}`, `40GB+`. With `any_name`, names that nobody knows too; where a
    file is not `ours`, names mean what SkyPilot means by them.
    """
    if fields.node("gpus") is not None:
        if fields.node("accelerators") is not None:
            fields.fail("gpus", "gpus and accelerators are one field", "keep one of them")
        key = "gpus"
    else:
        key = "accelerators"
    node = fields.node(key)
    if node is None:
        return [Accelerator(None)]
    texts = _accelerator_texts(fields, key, node)
    found = [each for text in texts for each in _accelerators(fields, key, text, any_name, ours)]
    if not found:
        fields.fail(key, "names no accelerator", "leave the field out")
    if node.items and node.items[1:]:
        remarks.said.append(f"resources.{key}: {NOT_IN_ORDER}")
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
_BY_MEMORY = re.compile(r"(?:(nvidia|amd|intel):)?(\d+(?:\.\d+)?)(?:GB|GiB)(\+?)", re.IGNORECASE)


# Those of the price book by their makers; any other is NVIDIA's, or was built for one program.
_MAKERS = {"amd": ("MI25", "MI300X", "RadeonV520", "V620", "V710"), "intel": ("Gaudi1",)}


# SkyPilot's H100 are Azure's NC H100 v5 too, which have the NVL form
# (FAMILY_NAME_TO_SKYPILOT_GPU_NAME in sky/catalog/data_fetchers/fetch_azure.py); H100-SXM are not.
_ALSO = {"h100": ("H100-NVL",)}


def _accelerators(
    fields: Fields, key: str, text: str, any_name: bool, ours: bool
) -> list[Accelerator]:
    stripped = text.strip()
    by_memory = _BY_MEMORY.match(stripped)
    name = by_memory[0] if by_memory else stripped.partition(":")[0]
    colon, count = stripped[len(name) : len(name) + 1], stripped[len(name) + 1 :]
    number = fields.parsed(key, count, parse_number) if colon else Decimal(1)
    if not 0 < number <= 1024:
        fields.fail(key, f"{quoted(text)}: the count must be from above 0 to 1024")
    if by_memory is not None and colon in (":", "") and float(by_memory[2]) > 0:
        memory = Amount(float(by_memory[2]), at_least=bool(by_memory[3]))
        models = _MAKERS.get((by_memory[1] or "").lower(), (None,))
        return [Accelerator(float(number), model, memory) for model in models]
    model = gpu_model(name) or unsold_model(name) or (name if any_name and name else None)
    if model is None:
        hint = nearest_hint(name, GPU_MODELS)
        fields.fail(key, f"unknown accelerator {quoted(name)}", hint)
    also = () if ours else _ALSO.get(name.lower(), ())
    return [Accelerator(float(number), each) for each in (model, *also)]
