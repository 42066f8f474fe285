"""The objects of a strict API server: versions, names, labels, immutable fields, owners."""

import copy
import re
import secrets as randomness
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import kubernetes_validate

Object = dict[str, Any]
SCHEMA = "1.31"
KINDS = {"jobs": "Job", "pods": "Pod", "secrets": "Secret", "events": "Event"}
APIS = {"jobs": "batch/v1"}
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_LABEL_KEY = re.compile(r"([a-z0-9.-]{1,253}/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?")
_LARGEST = 1_500_000
_MUTABLE_OF_JOBS = ("activeDeadlineSeconds", "suspend", "parallelism", "backoffLimit")
_MUTABLE_OF_JOBS = (*_MUTABLE_OF_JOBS, "ttlSecondsAfterFinished")


class No(Exception):
    """A refusal, as the API server words it."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code, self.reason, self.message = code, reason, message


def stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


class Store:
    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._version = 1000
        self._objects: dict[tuple[str, str, str], Object] = {}

    def get(self, resource: str, namespace: str, name: str) -> Object:
        try:
            return self._objects[resource, namespace, name]
        except KeyError:
            raise No(404, "NotFound", f'{resource} "{name}" not found') from None

    def all(self, resource: str, namespace: str | None = None) -> list[Object]:
        there = self._objects.items()
        return [o for (r, n, _), o in there if r == resource and namespace in (None, n)]

    def create(self, resource: str, namespace: str, body: Object) -> Object:
        made = copy.deepcopy(body)
        self._refuse_invalid(resource, made)
        name = made["metadata"]["name"]
        if (resource, namespace, name) in self._objects:
            raise No(409, "AlreadyExists", f'{resource} "{name}" already exists')
        uid = randomness.token_hex(16)
        uid = f"{uid[:8]}-{uid[8:12]}-{uid[12:16]}-{uid[16:20]}-{uid[20:]}"
        made["metadata"] |= {
            "namespace": namespace, "uid": uid, "creationTimestamp": stamp(self._now()),
        }  # fmt: skip
        if resource != "secrets":
            made["status"] = {}
        self._objects[resource, namespace, name] = made
        self.touched(made)
        return made

    def touched(self, thing: Object) -> None:
        """It changed: a version of its own."""
        self._version += 1
        thing["metadata"]["resourceVersion"] = str(self._version)

    def patch(self, resource: str, namespace: str, name: str, change: Object) -> Object:
        before = self.get(resource, namespace, name)
        wanted = (change.get("metadata") or {}).get("resourceVersion")
        if wanted not in (None, before["metadata"]["resourceVersion"]):
            raise No(409, "Conflict", f'the object has been modified: "{name}"')
        after = _merged(copy.deepcopy(before), change)
        self._refuse_invalid(
            resource, {k: v for k, v in after.items() if k != "status" and k[0] != "_"}
        )
        for key in ("name", "uid", "creationTimestamp", "namespace"):
            if after["metadata"].get(key) != before["metadata"].get(key):
                raise No(422, "Invalid", f"metadata.{key}: Invalid value: field is immutable")
        self._refuse_changes(resource, before, after)
        self._objects[resource, namespace, name] = after
        self.touched(after)
        return after

    def remove(self, resource: str, thing: Object) -> None:
        key = (resource, thing["metadata"]["namespace"], thing["metadata"]["name"])
        self._objects.pop(key, None)

    def owned(self, owner: Object) -> Iterator[tuple[str, Object]]:
        for (resource, _, _), thing in list(self._objects.items()):
            for each in thing["metadata"].get("ownerReferences") or []:
                if each["uid"] == owner["metadata"]["uid"]:
                    yield resource, thing

    def uids(self) -> set[str]:
        return {thing["metadata"]["uid"] for thing in self._objects.values()}

    def _refuse_invalid(self, resource: str, thing: Object) -> None:
        meta = thing.get("metadata") or {}
        name = str(meta.get("name"))
        if thing.get("kind") != KINDS[resource]:
            raise No(400, "BadRequest", f"the kind {thing.get('kind')} is not of {resource}")
        if thing.get("apiVersion") != APIS.get(resource, "v1"):
            raise No(400, "BadRequest", f"the API version {thing.get('apiVersion')} is wrong")
        try:
            kubernetes_validate.validate(thing, SCHEMA, strict=True)
        except kubernetes_validate.ValidationError as error:
            raise No(422, "Invalid", f'{resource} "{name}" is invalid: {error.message}') from None
        if not _NAME.fullmatch(name):
            raise No(422, "Invalid", f"metadata.name: Invalid value: {name!r}")
        labels = [meta.get("labels") or {}]
        labels.append(_at(thing, "spec", "template", "metadata", "labels") or {})
        labels.append(_at(thing, "spec", "template", "spec", "nodeSelector") or {})
        for key, value in (pair for each in labels for pair in each.items()):
            if not _LABEL_KEY.fullmatch(key) or not _LABEL_VALUE.fullmatch(value):
                raise No(422, "Invalid", f"metadata.labels: Invalid value: {key}={value}")
        if len(str(thing)) > _LARGEST:
            raise No(413, "RequestEntityTooLarge", "Request entity too large")
        if resource == "jobs":
            _refuse_bad_job(thing["spec"])

    def _refuse_changes(self, resource: str, before: Object, after: Object) -> None:
        told = [(each.get("data"), each.get("immutable")) for each in (before, after)]
        if resource == "secrets" and before.get("immutable") and told[0] != told[1]:
            raise No(422, "Invalid", "data: Forbidden: field is immutable when it is set")
        if resource == "jobs":
            fixed = [
                {k: v for k, v in each["spec"].items() if k not in _MUTABLE_OF_JOBS}
                for each in (before, after)
            ]
            if fixed[0] != fixed[1]:
                raise No(422, "Invalid", "spec.template: Invalid value: field is immutable")


def _refuse_bad_job(spec: Object) -> None:
    """What the schema alone lets through, and validation.go of batch does not."""
    pod = spec["template"]["spec"]
    if pod.get("restartPolicy") not in ("Never", "OnFailure"):
        raise No(422, "Invalid", "spec.template.spec.restartPolicy: Required value")
    if spec.get("podFailurePolicy") and pod["restartPolicy"] != "Never":
        raise No(422, "Invalid", 'only "Never" is supported when podFailurePolicy is specified')
    if spec.get("activeDeadlineSeconds", 1) < 1:
        raise No(422, "Invalid", "spec.activeDeadlineSeconds: must be greater than 0")
    volumes = [volume["name"] for volume in pod.get("volumes") or []]
    for container in pod["containers"]:
        paths = [mount["mountPath"] for mount in container.get("volumeMounts") or []]
        if len(set(paths)) != len(paths):
            raise No(422, "Invalid", "volumeMounts: Invalid value: must be unique")
        for mount in container.get("volumeMounts") or []:
            if mount["name"] not in volumes:
                raise No(422, "Invalid", f"volumeMounts: Not found: {mount['name']!r}")
            if mount.get("subPath", "").startswith("/") or ".." in mount.get("subPath", ""):
                raise No(422, "Invalid", "subPath: must be a relative path")
        sizes = container.get("resources") or {}
        for resource, limit in (sizes.get("limits") or {}).items():
            wanted = (sizes.get("requests") or {}).get(resource, limit)
            if "/" in resource and str(wanted) != str(limit):
                raise No(422, "Invalid", f"{resource}: must be equal to {resource} limit")


def _merged(thing: Any, change: Any) -> Any:
    """RFC 7386."""
    if not isinstance(change, dict):
        return change
    thing = thing if isinstance(thing, dict) else {}
    for key, value in change.items():
        if value is None:
            thing.pop(key, None)
        else:
            thing[key] = _merged(thing.get(key), value)
    return thing


def _at(thing: Any, *keys: str) -> Any:
    for key in keys:
        thing = (thing or {}).get(key)
    return thing


def matches(thing: Object, selector: str) -> bool:
    labels = thing["metadata"].get("labels") or {}
    wanted = [part.split("=", 1) for part in selector.split(",") if part]
    return all(labels.get(key.rstrip("=")) == value.lstrip("=") for key, value in wanted)
