"""What engines take in the files that are written for them, put down by us from their sources.

Closed: a key that is not here is not one of theirs, as far as we write it.
"""

from typing import Any

COUNT = {"type": "integer", "minimum": 0, "maximum": 2**31 - 1}
ONE_UP = COUNT | {"minimum": 1}
ABOVE_ZERO = {"type": "number", "exclusiveMinimum": 0}
FROM_ZERO = {"type": "number", "minimum": 0}
TEXT = {"type": "string", "minLength": 1}
TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
DNS_LABEL = {"type": "string", "pattern": "^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$"}
# The bound of autoscaling/v2, which KEDA hands its own on to.
WINDOW = {"type": "integer", "minimum": 0, "maximum": 3600}


def closed(required: str = "", **properties: Any) -> dict[str, Any]:
    """An object with these keys and no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": required.split(),
        "additionalProperties": False,
    }


def resource(api: str, kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    """A resource of Kubernetes."""
    return closed(
        "apiVersion kind metadata spec",
        apiVersion={"const": api},
        kind={"const": kind},
        metadata=closed("name", name=DNS_LABEL, annotations=TEXTS),
        spec=spec,
    )


# kedacore/keda, apis/keda/v1alpha1/scaledobject_types.go (01ee1d30) and, for what the trigger must
# have, pkg/scalers/prometheus_scaler.go (0805d72e).
_RULES = closed(stabilizationWindowSeconds=WINDOW)
KEDA = resource(
    "keda.sh/v1alpha1",
    "ScaledObject",
    closed(
        "scaleTargetRef triggers",
        scaleTargetRef=closed("name", name=TEXT, apiVersion=TEXT, kind=TEXT),
        pollingInterval=COUNT,
        cooldownPeriod=COUNT,
        minReplicaCount=COUNT,
        maxReplicaCount=ONE_UP,
        advanced=closed(
            horizontalPodAutoscalerConfig=closed(
                behavior=closed(scaleUp=_RULES, scaleDown=_RULES), name=TEXT
            )
        ),
        triggers={
            "type": "array",
            "minItems": 1,
            "items": closed(
                "type metadata",
                type={"const": "prometheus"},
                metricType={"enum": ["AverageValue", "Value"]},
                metadata=closed(
                    "serverAddress query threshold",
                    serverAddress={"type": "string", "pattern": "^https?://"},
                    query=TEXT,
                    threshold={"type": "string", "pattern": r"^[0-9.]+(e[+-]?[0-9]+)?$"},
                ),
            ),
        },
    ),
)

# kserve/kserve, pkg/apis/serving/v1beta1/component.go (017d86a9); of a patch, nothing is required.
KSERVE = resource(
    "serving.kserve.io/v1beta1",
    "InferenceService",
    closed(
        "predictor",
        predictor=closed(
            minReplicas=COUNT,
            maxReplicas=COUNT,
            scaleTarget={"anyOf": [ONE_UP, {"type": "null"}]},
            scaleMetric={"enum": ["cpu", "memory", "concurrency", "rps"]},
            containerConcurrency=COUNT,
            timeout=COUNT,
        ),
    ),
)

# ray-project/ray 2.60.0, python/ray/serve/schema.py and config.py.
RAY_SERVE = closed(
    "applications",
    applications={
        "type": "array",
        "minItems": 1,
        "items": closed(
            "import_path",
            name=TEXT,
            route_prefix={"type": "string", "pattern": "^/"},
            import_path={"type": "string", "pattern": r"^[\w.]+[:.]\w+$"},
            deployments={
                "type": "array",
                "items": closed(
                    "name",
                    name=TEXT,
                    max_ongoing_requests=ONE_UP,
                    max_queued_requests={"anyOf": [ONE_UP, {"const": -1}]},
                    backpressure_config=closed(
                        status_code={"enum": [503, 429]}, retry_after_s=FROM_ZERO
                    ),
                    autoscaling_config=closed(
                        min_replicas=COUNT,
                        max_replicas=ONE_UP,
                        target_ongoing_requests=ABOVE_ZERO,
                        upscale_delay_s=FROM_ZERO,
                        downscale_delay_s=FROM_ZERO,
                    ),
                ),
            },
        ),
    },
)

# skypilot-org/skypilot 0.14.1, sky/utils/schemas.py, get_service_schema().
SKYSERVE = closed(
    "service",
    service=closed(
        "",
        readiness_probe=closed(
            "path",
            path={"type": "string", "pattern": "^/"},
            initial_delay_seconds=FROM_ZERO,
            timeout_seconds=FROM_ZERO,
            post_data={"anyOf": [{"type": "string"}, {"type": "object"}]},
            headers={"type": "object", "additionalProperties": {"type": "string"}},
        ),
        replica_policy=closed(
            "min_replicas",
            min_replicas=COUNT,
            max_replicas=COUNT,
            target_qps_per_replica=FROM_ZERO,
            upscale_delay_seconds=FROM_ZERO,
            downscale_delay_seconds=FROM_ZERO,
        ),
        ports={"type": "integer", "minimum": 1, "maximum": 65_535},
    ),
)

# Azure Monitor 2022-10-01, autoscale settings: Azure/azure-rest-api-specs, and azure-mgmt-monitor
# 7.0.0, which reads it where MLBROKER_ENGINES_PYTHON has it.
_MINUTES = {"type": "string", "pattern": "^PT[0-9]+M$"}
_NUMBER = {"type": "string", "pattern": "^[0-9]+$"}
AZURE_AUTOSCALE = closed(
    "location properties",
    location=TEXT,
    properties=closed(
        "name enabled targetResourceUri profiles",
        name=TEXT,
        enabled={"const": True},
        targetResourceUri=TEXT,
        profiles={
            "type": "array",
            "minItems": 1,
            "maxItems": 20,
            "items": closed(
                "name capacity rules",
                name=TEXT,
                capacity=closed(
                    "minimum maximum default", minimum=_NUMBER, maximum=_NUMBER, default=_NUMBER
                ),
                rules={
                    "type": "array",
                    "maxItems": 10,
                    "items": closed(
                        "metricTrigger scaleAction",
                        metricTrigger=closed(
                            "metricName metricResourceUri timeGrain statistic timeWindow"
                            " timeAggregation operator threshold",
                            metricName=TEXT,
                            metricNamespace=TEXT,
                            metricResourceUri=TEXT,
                            timeGrain=_MINUTES,
                            statistic={"enum": ["Average", "Min", "Max", "Sum", "Count"]},
                            timeWindow=_MINUTES,
                            timeAggregation={
                                "enum": ["Average", "Minimum", "Maximum", "Total", "Count", "Last"]
                            },
                            operator={"enum": ["GreaterThan", "LessThan"]},
                            threshold=ABOVE_ZERO,
                        ),
                        scaleAction=closed(
                            "direction type cooldown",
                            direction={"enum": ["Increase", "Decrease"]},
                            type={"enum": ["ChangeCount", "PercentChangeCount", "ExactCount"]},
                            value={"type": "string", "pattern": "^[1-9][0-9]*$"},
                            cooldown=_MINUTES,
                        ),
                    ),
                },
            ),
        },
    ),
)
