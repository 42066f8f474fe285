"""Azure: the call that sets a scale set's bounds, and rules by the requests of each machine.

https://learn.microsoft.com/rest/api/monitor/autoscale-settings/create-or-update and, for the
metric, https://learn.microsoft.com/azure/application-gateway/monitor-application-gateway-reference
"""

import json
import shlex
from typing import Any

from mlbroker.broker.engines.common import turns_nobody_away
from mlbroker.broker.engines.interface import Ceiling, Export
from mlbroker.broker.files.other_tools.interface import words_of
from mlbroker.profiles.job import Job

WORDS = "a script for a virtual machine scale set of Azure"
_VARIABLES = ("SCALE_SET", "GATEWAY", "LOCATION")
# Of the rate that a replica serves, below which one is taken away: so that what is left of two
# serves the rate of both.
_IDLE = 0.5


def export(job: Job, ceiling: Ceiling) -> Export:
    """A script of Azure's own command line, for a scale set behind an application gateway."""
    name = words_of(job.name, 63)
    # The metric counts by the minute.
    target = float(f"{60 * ceiling.target_rps:.6g}")
    setting = {
        "location": "${LOCATION}",
        "properties": {
            "name": name,
            "enabled": True,
            "targetResourceUri": "${SCALE_SET}",
            "profiles": [
                {
                    "name": "ceiling",
                    "capacity": {
                        "minimum": str(ceiling.least),
                        "maximum": str(ceiling.most),
                        # Where the metric is not to be had.
                        "default": str(ceiling.least),
                    },
                    # Of those that say more, Azure takes what says most: half of few is none.
                    "rules": [
                        _rule("GreaterThan", target, "Increase", "ChangeCount", 1, "PT1M"),
                        _rule("GreaterThan", target, "Increase", "PercentChangeCount", 50, "PT1M"),
                        _rule("LessThan", _IDLE * target, "Decrease", "ChangeCount", 1, "PT5M"),
                    ],
                }
            ],
        },
    }
    body = shlex.quote(json.dumps(setting))
    for variable in _VARIABLES:
        body = body.replace(f"${{{variable}}}", f"'\"${{{variable}}}\"'")
    lines = [
        "#!/bin/sh",
        "set -eu",
        ': "${SCALE_SET:?is the resource ID of the scale set}"',
        ': "${GATEWAY:?is the resource ID of the application gateway before it}"',
        'LOCATION=$(az resource show --ids "$SCALE_SET" --query location --output tsv)',
        "settings=${SCALE_SET%%/providers/*}/providers/Microsoft.Insights/autoscaleSettings",
        f'az rest --method put --url "$settings/{name}?api-version=2022-10-01" --body {body}',
    ]
    notes = [
        turns_nobody_away("An application gateway", ceiling),
        f"It replaces the autoscale setting {name!r} of the scale set's resource group: any other"
        " of the same scale set has to be taken away",
        "Azure looks back five minutes at least, so that a surge is followed as late as that",
        "An update of the scale set, or overprovisioning, may run machines beyond the ceiling:"
        " set `maxSurge` and `overprovision` to false",
    ]
    return Export("\n".join(lines) + "\n", tuple(notes))


def _rule(
    operator: str, threshold: float, direction: str, kind: str, value: int, cooldown: str
) -> dict[str, Any]:
    return {
        "metricTrigger": {
            "metricName": "AvgRequestCountPerHealthyHost",
            "metricNamespace": "Microsoft.Network/applicationGateways",
            "metricResourceUri": "${GATEWAY}",
            "timeGrain": "PT1M",
            "statistic": "Average",
            "timeWindow": "PT5M",
            "timeAggregation": "Average",
            "operator": operator,
            "threshold": threshold,
        },
        "scaleAction": {
            "direction": direction,
            "type": kind,
            "value": str(value),
            "cooldown": cooldown,
        },
    }
