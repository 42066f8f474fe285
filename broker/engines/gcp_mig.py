"""Google Cloud: the call that sets a managed instance group's bounds and its target.

https://cloud.google.com/compute/docs/reference/rest/v1/autoscalers/patch
"""

import json
import shlex

from mlbroker.broker.engines.common import turns_nobody_away
from mlbroker.broker.engines.interface import Ceiling, Export
from mlbroker.broker.files.other_tools.interface import words_of
from mlbroker.profiles.job import Job

WORDS = "a script for a managed instance group of Google's"


def export(job: Job, ceiling: Ceiling) -> Export:
    """A script of curl, for an autoscaler with the job's name in a zone."""
    assert job.service is not None
    name = words_of(job.name, 63)
    autoscaler = {
        "name": name,
        "autoscalingPolicy": {
            "mode": "ON",
            "minNumReplicas": ceiling.least,
            "maxNumReplicas": ceiling.most,
            # Of the rate that its backend names for each machine: what one serves.
            "loadBalancingUtilization": {"utilizationTarget": 1.0},
        },
    }
    lines = [
        "#!/bin/sh",
        "set -eu",
        ': "${PROJECT:?is the project of the group}" "${ZONE:?is the zone of the group}"',
        "url=https://compute.googleapis.com/compute/v1/projects/$PROJECT/zones/$ZONE/autoscalers",
        "token=$(gcloud auth print-access-token)",
        'printf "Authorization: Bearer %s" "$token" |',
        f'curl --fail-with-body -X PATCH "$url?autoscaler={name}" -H @- \\',
        f'  -H "Content-Type: application/json" -d {shlex.quote(json.dumps(autoscaler))}',
    ]
    notes = [
        turns_nobody_away("Google's load balancer", ceiling),
        f"The group's autoscaler is taken to be called {name!r}, and to be of one zone",
        f"Its backend must name what a machine serves: maxRatePerInstance {ceiling.target_rps:.4g}",
        "An update of the group runs machines beyond the ceiling unless its maxSurge is 0",
    ]
    return Export("\n".join(lines) + "\n", tuple(notes))
