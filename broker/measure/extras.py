"""What else a measurement saw: phases, utilisation, waiting, the machine; as text for people."""

import json
from collections.abc import Mapping
from typing import Any

from mlbroker.broker.measure.watch import Observation

# The name of why the steps that are stated cannot be those that were counted.
DISAGREEMENT = "steps_disagree"
# Notes of the probe that are for the agent, not for people.
_INTERNAL = {"library", "parent", "total", "epoch", "not_hooked"}
# Above this share of the machine, other processes have slowed the job down.
CROWDED = 0.1


def extras(seen: Observation, cores: int | None) -> dict[str, str]:
    """The facts that are known, by name. `cores` is how many the job was limited to."""
    facts: dict[str, Any] = {k: v for k, v in seen.notes.items() if k not in _INTERNAL}
    facts |= phases(seen) | usage(seen, cores or int(seen.machine["vcpus"]))
    facts["limited_to_cores"] = cores
    facts["memory_gb_per_s"] = seen.machine.get("memory_gb_per_s")
    facts["cpu_flags"] = " ".join(seen.machine.get("flags") or [])
    return {name: _text(value) for name, value in facts.items() if value not in (None, "")}


def phases(seen: Observation) -> dict[str, Any]:
    """Set-up, start-up, warm-up, periods, tear-down: each apart, in seconds."""
    facts: dict[str, Any] = {"setup_s": seen.setup_s or None}
    series, found = seen.series, seen.estimate
    if series is not None:
        facts |= {"source": series.source, "steps_seen": series.steps}
        if series.waited_s:
            stepping_s = max(series.times_s[-1] - series.times_s[0], 1e-9)
            facts["data_wait_share"] = min(1.0, series.waited_s / stepping_s)
        if seen.completed:
            facts["tear_down_s"] = float(seen.end["time_s"]) - series.times_s[-1]
    if found is not None:
        facts |= {
            "start_up_s": found.start_up_s,
            "warmup_steps": found.warmup_steps,
            "warmup_s": found.warmup_extra_s,
            "plain_step_s": found.plain_step_s,
            "half_width": found.half_width,
            "drift_chance": found.drift,
        }
        if found.periods:
            facts["periods"] = json.dumps(
                [
                    {"every": p.every, "extra_s": float(_text(p.extra_s)), "seen": p.seen}
                    for p in found.periods
                ]
            )
    return facts


def usage(seen: Observation, cores: int) -> dict[str, Any]:
    """Shares and means over the time in which steps were made."""
    began = seen.series.times_s[0] if seen.series else 0.0
    window = [item for item in seen.samples if item[0] >= began] or seen.samples
    if len(window) < 2:
        return {}
    (start_s, first), (end_s, last) = window[0], window[-1]
    span = max(end_s - start_s, 1e-9)
    return {
        "cpu_utilisation": _growth(first, last, "cpu_s", span, cores),
        "others_cpu_share": _growth(first, last, "others_cpu_s", span, cores),
        "gpu_utilisation": last.get("gpu_utilisation"),
        "gpu_power_w": last.get("gpu_power_w"),
        "cpu_power_w": _growth(first, last, "package_j", span, 1),
    }


def doubts(extra: Mapping[str, str]) -> list[str]:
    """Why the figures of a measurement may be wrong, in words."""
    told = (extra.get(DISAGREEMENT), _crowded(extra))
    return [doubt for doubt in told if doubt is not None]


def _crowded(extra: Mapping[str, str]) -> str | None:
    """Others used the machine too, which no statistics can take out again."""
    share = float(extra.get("others_cpu_share", 0.0))
    if share < CROWDED:
        return None
    return (
        f"other processes used {share:.0%} of the machine meanwhile: the times are longer than "
        "they would be alone"
    )


def _growth(
    first: Mapping[str, Any], last: Mapping[str, Any], name: str, span: float, share: int
) -> float | None:
    if first.get(name) is None or last.get(name) is None:
        return None
    return max(0.0, float(last[name]) - float(first[name])) / span / share


def _text(value: Any) -> str:
    return str(float(f"{value:.4g}") if isinstance(value, float) else value)
