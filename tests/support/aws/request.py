"""One request to the loopback cloud, and the answers AWS gives when it says no."""

import json
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from xml.sax.saxutils import escape

from tests.support.loopback_http import Answer, Asked, Environ


@dataclass
class Request(Asked):
    """Who asks which service of which region for what."""

    service: str = ""
    region: str = ""
    key: str = ""

    @classmethod
    def read(cls, environ: Environ) -> "Request":
        length = int(environ.get("CONTENT_LENGTH") or 0)
        body = environ["wsgi.input"].read(length) if length else b""
        request = cls(environ, body)
        parts = environ.get("HTTP_AUTHORIZATION", "").replace(",", " ").split()
        named = [p.partition("=")[2] for p in parts if p.startswith("Credential=")]
        for credential in named or [request.query.get("X-Amz-Credential")]:
            if credential:
                scope = credential.split("/")
                request.key, request.region, request.service = scope[0], scope[-3], scope[-2]
        return request

    @property
    def is_link(self) -> bool:
        """Whether it comes with a signed link: whoever has it asks with the signer's right."""
        return "X-Amz-Signature" in self.query

    @property
    def who(self) -> str:
        """Whose key it is, where the key's owner asks."""
        return "link" if self.is_link else self.key

    @property
    def bucket(self) -> str:
        """The bucket that is asked for."""
        return self.path.strip("/").partition("/")[0]

    @property
    def objects(self) -> list[str]:
        """The keys in it that are asked for; none where it is asked for as a whole."""
        if "delete" in self.query:
            return re.findall(r"<Key>([^<]+)</Key>", self.body.decode())
        key = self.path.lstrip("/").partition("/")[2]
        return [key] if key else []

    @cached_property
    def params(self) -> dict[str, str]:
        """The flat parameters of the query protocol."""
        return dict(parse_qsl(self.body.decode("utf-8", "replace"), keep_blank_values=True))

    @cached_property
    def action(self) -> str:
        """The operation's name, as in a policy, without its service."""
        target = self.environ.get("HTTP_X_AMZ_TARGET", "")
        if target:
            return str(target).rpartition(".")[2]
        if self.service == "scheduler":
            names = {"POST": "CreateSchedule", "DELETE": "DeleteSchedule", "GET": "GetSchedule"}
            return "ListSchedules" if self.path == "/schedules" else names[self.method]
        if self.service == "s3":
            return self._s3_action()
        return self.params.get("Action", "")

    def json(self) -> dict[str, Any]:
        """The body of the JSON protocols."""
        found: dict[str, Any] = json.loads(self.body or b"{}")
        return found

    def listed(self, name: str) -> "list[str]":
        """A list of the query protocol: Name.1, Name.2 …"""
        found: list[str] = []
        while (value := self.params.get(f"{name}.{len(found) + 1}")) is not None:
            found.append(value)
        return found

    def in_pages_of(self, most: int) -> None:
        """As if the service's pages had `most` entries, where it takes that from the request."""
        if self.action == "ListBucket":
            self.environ["QUERY_STRING"] += f"&max-keys={most}"
        elif self.action == "DescribeInstances" and not self.listed("InstanceId"):
            self.body += f"&MaxResults={most}".encode()
            self.environ["CONTENT_LENGTH"] = str(len(self.body))

    def _s3_action(self) -> str:
        query = urlsplit("?" + self.environ.get("QUERY_STRING", "")).query
        if self.path == "/":
            return "ListAllMyBuckets"
        whole_bucket = self.path.strip("/").count("/") == 0
        if whole_bucket:
            names = {"GET": "ListBucket", "HEAD": "ListBucket", "PUT": "CreateBucket"}
            return "DeleteObject" if "delete" in query else names.get(self.method, self.method)
        names = {"GET": "GetObject", "HEAD": "GetObject", "DELETE": "DeleteObject"}
        return names.get(self.method, "PutObject")


def refuse(code: str, message: str, status: str = "400 Bad Request") -> Answer:
    """An error of the EC2 protocol."""
    text = (
        f"<Response><Errors><Error><Code>{code}</Code><Message>{escape(message)}</Message></Error>"
        "</Errors><RequestID>00000000-0000-0000-0000-000000000000</RequestID></Response>"
    )
    return Answer(status, [("Content-Type", "text/xml")], text.encode())


def refuse_json(code: str, message: str, status: str = "400 Bad Request") -> Answer:
    """An error of the JSON protocols."""
    body = json.dumps({"__type": code, "message": message}).encode()
    headers = [("Content-Type", "application/x-amz-json-1.1"), ("x-amzn-errortype", code)]
    return Answer(status, headers, body)
