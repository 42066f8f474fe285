"""One observed run of a job on one piece of hardware."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from mlbroker.pricing.offer import Hardware, Market


class Status(StrEnum):
    """How it ended. A failure is knowledge too: the planner avoids machines like it.

    What was stopped, by somebody or by a fault that is none of the machine's, says how long the
    work takes at least.
    """

    OK = "ok"
    FAILED = "failed"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Measurement:
    """A row of the measurements table (see docs/measurements.md), or a result of the profiler.

    `time_s` is the time of one step when `steps` is given (its work counted in steps), else of
    the whole work; of a failed or stopped row, the time until then. `price_per_hour_usd` is of the
    whole configuration, all nodes. `sigma_log` is the standard error of log time_s when known.
    `features` are the `spec_*` columns, without the prefix. `overhead_s` is time of the whole run
    that does not grow with the steps (set-up inside the job, final evaluation).
    `extra` holds what else was recorded (utilisation, versions), for people to read.
    `facts` are digests of what of the job the time rests on (command, code, data); when one has
    changed, it was measured on an earlier version: `version` says so in words, and by `doubt_log`
    (standard deviation of log time) all that was measured on that version may be off together.
    """

    job: str
    config: str
    time_s: float
    price_per_hour_usd: Decimal | None = None
    group: str | None = None
    cloud: str | None = None
    region: str | None = None
    instance_type: str | None = None
    nodes: int = 1
    market: Market | None = None
    batch_size: int | None = None
    steps: int | None = None
    status: Status = Status.OK
    reason: str | None = None
    rep: int | None = None
    features: Mapping[str, float] = field(default_factory=dict)
    hardware: Hardware | None = None
    sigma_log: float | None = None
    overhead_s: float = 0.0
    peak_memory_gib: float | None = None
    peak_gpu_memory_gib: float | None = None
    gpu_used: bool | None = None
    fingerprint: str | None = None
    measured_at: datetime | None = None
    extra: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    # Known only beside the job as it is now, and stored nowhere.
    doubt_log: float = 0.0
    version: str | None = None
