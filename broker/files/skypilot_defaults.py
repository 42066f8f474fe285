"""What SkyPilot takes where a task says nothing: held for files without a `broker:` block.

Its sources: `_DEFAULT_NUM_VCPUS`, `_DEFAULT_MEMORY_CPU_RATIO` and `_DEFAULT_INSTANCE_FAMILY` (all
x86-64) of sky/catalog/*_catalog.py, `_NUM_ACC_TO_NUM_CPU` of sky/catalog/gcp_catalog.py,
`_DEFAULT_DISK_SIZE_GB` of sky/resources.py, and `resources.use_spot` of its YAML specification.
"""

from collections.abc import Iterable

from mlbroker.broker.files.remarks import Remarks
from mlbroker.pricing.book import Amount, Requirements
from mlbroker.pricing.offer import Market
from mlbroker.profiles.job import ResourceOption

DISK_GB = 256
_VCPUS, _GIB_PER_VCPU = 8.0, 4.0
# vCPUs and GiB for each GPU of those that Google Cloud attaches to a machine of any size: SkyPilot
# takes the hosts that AWS sells them in. Azure's, with 6 vCPUs for a V100 or a P100, will do too;
# the next size of Google's N1 machines is SkyPilot's.
_HOSTS = {
    "K80": (4, 16),
    "T4": (4, 16),
    "V100-16GB": (6, 32),
    "P100": (6, 32),
    "P4": (6, 32),
}
_T4_HOST_FROM_FOUR = (12, 48)


def as_skypilot(options: Iterable[ResourceOption], remarks: Remarks) -> tuple[ResourceOption, ...]:
    """The alternatives with SkyPilot's sizes and market where they name none; it is said once."""
    said: dict[str, None] = {}
    found = []
    for option in options:
        usual = _usual(option)
        if usual is not None and usual != Requirements():
            said[_words(usual, option.requirements)] = None
        assumed = option.market is None
        if assumed:
            said["on demand (`use_spot: true` or `--market spot` for spot)"] = None
        found.append(
            option._replace(
                usual=usual,
                market=Market.ON_DEMAND if assumed else option.market,
                market_assumed=assumed,
            )
        )
    if said:
        remarks.said.append(
            f"As SkyPilot does where a task says nothing: {', '.join(said)}. With a `broker:` block"
            " mlbroker chooses these."
        )
    return tuple(found)


def _usual(option: ResourceOption) -> Requirements | None:
    needs = option.requirements
    if option.instance_type is not None:
        return None
    sized = needs.memory_gib is not None or needs.memory_gib_per_vcpu is not None
    if not needs.wants_gpu:
        return Requirements(
            vcpus=None if needs.vcpus or sized else Amount(_VCPUS),
            memory_gib_per_vcpu=None if sized else _GIB_PER_VCPU,
            arch=None if needs.arch else "x86_64",
        )
    if sized:
        return None
    model, count = needs.gpu_model or "", needs.gpu_count or 1
    if needs.vcpus or model not in _HOSTS or count < 1:
        return None
    vcpus_each, gib_each = _T4_HOST_FROM_FOUR if model == "T4" and count >= 4 else _HOSTS[model]
    return Requirements(vcpus=Amount(vcpus_each * count), memory_gib=Amount(gib_each * count))


def _words(usual: Requirements, needs: Requirements) -> str:
    if needs.wants_gpu:
        gpus = f"{needs.gpu_count or 1:g} {needs.gpu_model}"
        return f"{usual.vcpus} vCPUs and {usual.memory_gib} GiB beside {gpus}"
    sizes = f"{usual.vcpus or needs.vcpus} vCPUs with {_GIB_PER_VCPU:g}+ GiB each"
    sized = usual.memory_gib_per_vcpu is None
    return ", ".join([*([] if sized else [sizes]), *(["x86-64"] if usual.arch else [])])
