"""The parts of a SkyPilot task that mlbroker does not carry out: what they say of its data, and
what a run would miss without them.
"""

import re
from decimal import Decimal

from mlbroker.broker.files.remarks import Remarks
from mlbroker.broker.files.skypilot_keys import check_store
from mlbroker.broker.files.values import parse_number
from mlbroker.broker.files.yaml_fields import Fields
from mlbroker.broker.files.yaml_strict import Node
from mlbroker.profiles.job import Data, DataLocation

# Nothing that a price or a run on a machine of its own rests on.
_LEFT_ALONE = (
    "api_server_access",
    "config",
    "event_callback",
    "experimental",
    "file_mounts_mapping",
    "_metadata",
)
_VOLUMES = ("volumes", "volume_mounts")
KNOWN = (
    "file_mounts",
    "inputs",
    "managed_secrets",
    "outputs",
    "pool",
    "service",
    "storage_mounts",
    *_VOLUMES,
    *_LEFT_ALONE,
)
# Here, and among the resources.
NO_VOLUMES = "mlbroker attaches no volumes"
_MOUNTS = ("file_mounts", "storage_mounts")
# Whose bucket it is, by SkyPilot's names of stores and by the scheme of its address.
_STORES = {"s3": "aws", "gcs": "gcp", "gs": "gcp", "azure": "azure"}
_BLOB = re.compile(r"https://[^/]+\.blob\.core\.windows\.net(?:/.*)?")
_SHOWN = 3


def read_rest(fields: Fields, remarks: Remarks) -> Data:
    """What SkyPilot's other fields tell of the job's data."""
    places: set[str | None] = set()
    for key in _MOUNTS:
        places |= _mounts(fields, key, remarks)
    remarks.ignored.extend(key for key in _LEFT_ALONE if key in fields)
    remarks.not_run.extend(f"{key}: {NO_VOLUMES}" for key in _VOLUMES if fields.node(key))
    read_gb, read_from = _estimated(fields, "inputs")
    written_gb, _ = _estimated(fields, "outputs")
    clouds = (places | read_from) - {None}
    at = DataLocation(clouds.pop() or "") if len(clouds) == 1 else None
    return Data(read_gb, written_gb, at)


def _mounts(fields: Fields, key: str, remarks: Remarks) -> set[str | None]:
    """The clouds of the buckets under `key`. A run makes no mounts, and is refused for them."""
    mounts = fields.section(key)
    if mounts is None:
        return set()
    shown, clouds = [], set()
    for target in mounts:
        node = mounts.node(target)
        if node is None:
            continue
        source, cloud = _source(mounts, target, node)
        shown.append(f"{target} from {source}" if source else target)
        clouds.add(cloud)
    if shown:
        more = f" and {len(shown) - _SHOWN} more" if shown[_SHOWN:] else ""
        remarks.not_run.append(
            f"{key}: mlbroker mounts and copies nothing ({', '.join(shown[:_SHOWN])}{more}): put"
            " small files into `workdir`, fetch the rest in `setup`, and take the field out"
        )
    return clouds


def _source(mounts: Fields, target: str, node: Node) -> tuple[str, str | None]:
    """Where a mount's files come from, and the cloud of a bucket."""
    if node.fields is None:
        text = mounts.text(target) or ""
        return text, _cloud_of(text)
    mount = Fields(node, mounts.name_of(target), mounts.source)
    check_store(mount)
    listed = mount.node("source")
    if listed is not None and listed.items is not None:
        texts = [item.text or "" for item in listed.items]
    else:
        texts = [mount.text("source") or ""]
    cloud = next((found for text in texts if (found := _cloud_of(text))), None)
    store = (mount.text("store") or "").lower()
    return texts[0] or (mount.text("name") or ""), cloud or _STORES.get(store)


def _cloud_of(source: str) -> str | None:
    if _BLOB.fullmatch(source):
        return "azure"
    scheme, separator, _ = source.partition("://")
    return _STORES.get(scheme.lower()) if separator else None


def _estimated(fields: Fields, key: str) -> tuple[Decimal, set[str | None]]:
    """SkyPilot's estimate, `{s3://bucket: 150}`: how many GB there are, and on whose clouds."""
    section = fields.section(key)
    if section is None:
        return Decimal(0), set()
    sizes = [section.value(place, parse_number) or Decimal(0) for place in section]
    return sum(sizes, Decimal(0)), {_cloud_of(place) for place in section}
