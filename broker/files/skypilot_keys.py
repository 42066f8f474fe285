"""The fields that SkyPilot knows, by the block they stand in; it refuses others, as is done here.

From sky/utils/schemas.py of SkyPilot 0.14, and what earlier versions knew and still plans the same.
"""

from typing import Any

from mlbroker.broker.errors import InputError
from mlbroker.broker.files.values import matching
from mlbroker.broker.files.yaml_fields import Fields, nearest
from mlbroker.broker.files.yaml_strict import Node

_JOB_RECOVERY = ("strategy", "max_restarts_on_errors", "recover_on_exit_codes")
_AUTOSTOP = ("idle_minutes", "down", "wait_for", "hook", "hook_timeout")
_SERVICE = (
    "readiness_probe",
    "replica_policy",
    "replicas",
    "load_balancing_policy",
    "load_balancer",
    "ports",
    "tls",
    "pool",
    "workers",
)
_POLICY = (
    "min_replicas",
    "max_replicas",
    "num_overprovision",
    "target_qps_per_replica",
    "dynamic_ondemand_fallback",
    "base_ondemand_fallback_replicas",
    "spot_placer",
    "upscale_delay_seconds",
    "downscale_delay_seconds",
)
_POOL = (
    "workers",
    "min_workers",
    "max_workers",
    "queue_length_threshold",
    "upscale_delay_seconds",
    "downscale_delay_seconds",
)
_PROBE = (
    "path",
    "initial_delay_seconds",
    "timeout_seconds",
    "endpoint_probe_interval_seconds",
    "consecutive_failure_threshold_timeout",
    "post_data",
    "headers",
)
_STORE = ("name", "source", "store", "persistent", "mode", "type", "config")
_STORES = "S3|GCS|AZURE|R2|IBM|OCI|NEBIUS|COREWEAVE|VASTDATA|HF|VOLUME"
_store = matching(f"(?i:{_STORES})", "a store of SkyPilot's", _STORES.replace("|", ", "))
_mode = matching(r"(?i:MOUNT|COPY|MOUNT_CACHED)", "a mode", "write MOUNT, COPY or MOUNT_CACHED")


def check_machine(resources: Fields) -> None:
    """The blocks within `resources` that the choice of a machine does not rest on."""
    recovery = resources.node("job_recovery")
    for key in (recovery.fields if recovery is not None else None) or ():
        # Others belong to strategies that a server of SkyPilot's may have.
        if key not in _JOB_RECOVERY and nearest(key, _JOB_RECOVERY):
            _check(resources, "job_recovery", _JOB_RECOVERY)
    _check(resources, "autostop", _AUTOSTOP)


def check_service(kind: str, block: Fields) -> None:
    """The block of a service or a pool."""
    if kind == "pool":
        block.refuse_unknown(_POOL)
        return
    block.refuse_unknown(_SERVICE)
    _check(block, "replica_policy", _POLICY)
    _check(block, "pool", _POOL)
    _check(block, "readiness_probe", _PROBE)


def check_store(mount: Fields) -> None:
    """A bucket or a disk under `file_mounts`."""
    mount.refuse_unknown(_STORE)
    mount.value("mode", _mode)
    mount.value("store", _store)


def check_workdir(repository: Fields) -> None:
    """A workdir that is fetched from git."""
    repository.refuse_unknown(("url", "ref"))
    repository.required("url", str, "{url: https://github.com/me/project, ref: main}")


def _check(fields: Fields, key: str, known: tuple[str, ...]) -> None:
    """The block under `key`, where it is one: some have a short form."""
    node = fields.node(key)
    if node is not None and node.fields is not None:
        Fields(node, fields.name_of(key), fields.source).refuse_unknown(known)


def parse_flag(text: str) -> bool:
    """A truth value as SkyPilot's reader, of YAML 1.1, has them: `yes` and `on` are true too."""
    word = text.lower()
    if word in ("true", "yes", "on"):
        return True
    if word in ("false", "no", "off"):
        return False
    raise InputError(f"'{text[:60]}' is neither true nor false", hint="write true or false")


def env_text(node: Node) -> str:
    """What SkyPilot sets a variable to. It reads an unquoted value before it writes it out: `true`
    becomes `True`, and `3.10` `3.1`.
    """
    import yaml

    text = node.text or ""
    loader: Any = yaml.SafeLoader("")
    tag = loader.resolve(yaml.ScalarNode, text, (node.plain, not node.plain))
    try:
        return str(loader.construct_object(yaml.ScalarNode(tag, text)))
    except ValueError:  # such as the 30th of February
        return text
