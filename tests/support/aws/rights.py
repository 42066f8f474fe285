"""Whether a role's policy, as it lies in the account, lets its holder do this: IAM's own rules.

Of IAM it knows what the set-up uses for buckets: Allow, patterns of resources, and variables. A
variable that has no value makes its statement void, and a statement with a condition allows
nothing here.
"""

import json
import re
from collections.abc import Mapping
from functools import cache
from typing import Any
from urllib.parse import unquote

from tests.support.aws.request import Request, refuse, refuse_json
from tests.support.loopback_http import Answer

_VARIABLE = re.compile(r"\$\{([^}]+)\}")
GUEST = "guest-"


class Rights:
    """`account` is the number of the account."""

    def __init__(self, account: str) -> None:
        self._account = account

    def refused(self, request: Request) -> Answer | None:
        """The answer to a machine, or to who launches, that asks for what its policy lacks.

        Of those who launch, only what they do in buckets is looked at.
        """
        if request.key.startswith(GUEST):
            allowed = self._may(self._of_role(request), request)
        elif request.key == "launcher" and request.service == "s3":
            allowed = request.action == "ListAllMyBuckets" or self._may(self._launchers(), request)
        else:
            allowed = True
        return None if allowed else denied(request)

    def sees_absence(self, request: Request) -> bool:
        """To who may not list a bucket, S3 does not tell what is not in it."""
        if not request.key.startswith(GUEST):
            return True
        documents = self._of_role(request)
        return _allow(documents, "s3:ListBucket", f"arn:aws:s3:::{request.bucket}", {})

    def _may(self, documents: list[Any], request: Request) -> bool:
        session = _session(request, self._account)
        action = f"{request.service}:{request.action}"
        wanted = _resources(request, self._account)
        return all(_allow(documents, action, resource, session) for resource in wanted)

    def _of_role(self, request: Request) -> list[Any]:
        roles = self._iam().roles.values()
        name = f"mlbroker-machine-{request.region}"
        return [d for role in roles if role.name == name for d in role.policies.values()]

    def _launchers(self) -> list[Any]:
        ours = f"arn:aws:iam::{self._account}:policy/mlbroker-launcher-"
        policies = self._iam().managed_policies
        return [p.versions[-1].document for arn, p in policies.items() if arn.startswith(ours)]

    def _iam(self) -> Any:
        from moto.iam.models import iam_backends

        return iam_backends[self._account]["aws"]


def denied(request: Request) -> Answer:
    """In the words of the service that was asked."""
    if request.service == "s3":
        text = "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
        return Answer("403 Forbidden", [("Content-Type", "application/xml")], text.encode())
    if request.service == "ec2":
        return refuse("UnauthorizedOperation", "You are not authorized to perform this operation.")
    return refuse_json("AccessDeniedException", "not authorized")


def _session(request: Request, account: str) -> Mapping[str, str]:
    """What IAM knows of a machine's credentials."""
    if not request.key.startswith(GUEST):
        return {}
    id_ = request.key.removeprefix(GUEST)
    arn = f"arn:aws:ec2:{request.region}:{account}:instance/{id_}"
    return {"ec2:SourceInstanceARN": arn, "aws:userid": f"AROAMACHINE:{id_}"}


def _resources(request: Request, account: str) -> list[str]:
    if request.service == "s3":
        bucket = f"arn:aws:s3:::{request.bucket}"
        return [f"{bucket}/{key}" for key in request.objects] or [bucket]
    if request.service == "ssm":
        asked = request.json()
        names = asked.get("Names") or [asked.get("Path") or asked.get("Name") or "*"]
        place = f"arn:aws:ssm:{request.region}:{account}:parameter"
        return [f"{place}/{name.strip('/')}" for name in names]
    return ["*"]


def _allow(documents: list[Any], action: str, resource: str, session: Mapping[str, str]) -> bool:
    return any(
        _matches(statement["Action"], action, {})
        and _matches(statement["Resource"], resource, session)
        for document in documents
        for statement in _parsed(document)["Statement"]
        if statement["Effect"] == "Allow" and "Condition" not in statement
    )


def _parsed(document: Any) -> Any:
    return json.loads(unquote(document)) if isinstance(document, str) else document


def _matches(patterns: Any, value: str, session: Mapping[str, str]) -> bool:
    listed = [patterns] if isinstance(patterns, str) else patterns
    return any(_pattern(p, tuple(session.items())).fullmatch(value) for p in listed)


@cache
def _pattern(text: str, session: tuple[tuple[str, str], ...]) -> re.Pattern[str]:
    known = dict(session)
    if any(name not in known for name in _VARIABLE.findall(text)):
        return re.compile(r"(?!)")
    filled = _VARIABLE.sub(lambda m: "\0" + known[m[1]] + "\0", text)
    # What a variable stands for is no pattern, whatever is in it.
    parts = [
        re.escape(part) if number % 2 else re.escape(part).replace(r"\*", ".*").replace(r"\?", ".")
        for number, part in enumerate(filled.split("\0"))
    ]
    return re.compile("".join(parts), re.DOTALL)
