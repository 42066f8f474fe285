"""What several engines share: what is said of them, and how Kubernetes' resources are written."""

from collections.abc import Mapping
from typing import Any

from mlbroker.broker.engines.interface import Ceiling
from mlbroker.broker.files.other_tools.job_text import yaml_text

POD = (
    "A replica is reckoned at the price of a machine of its own: what the cluster adds beside them"
    " is paid for on top"
)


def turns_nobody_away(engine: str, ceiling: Ceiling) -> str:
    """Of an engine that has no queue with an end."""
    return (
        f"{engine} turns nobody away: above the ceiling its queue grows until nobody is in time."
        " Let what stands before it answer 429 with Retry-After once"
        f" {ceiling.queue_per_replica} requests wait for each replica"
    )


def resource(
    api: str,
    kind: str,
    name: str,
    spec: Mapping[str, Any],
    annotations: Mapping[str, str] | None = None,
) -> str:
    """A resource of Kubernetes."""
    metadata = {"name": name} | ({"annotations": dict(annotations)} if annotations else {})
    return yaml_text({"apiVersion": api, "kind": kind, "metadata": metadata, "spec": dict(spec)})
