"""AWS's programming interface, with its many errors turned into the four a run knows."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from mlbroker.broker.clouds.interface import Denied, NoCapacity, NoQuota, Unclear, Unfit
from mlbroker.broker.clouds.library import library
from mlbroker.broker.errors import CloudError

TRIES = 4
_NO_CAPACITY = frozenset(
    {
        "InsufficientInstanceCapacity",
        "InsufficientCapacity",
        "InsufficientHostCapacity",
        "InsufficientReservedInstanceCapacity",
        "InsufficientFreeAddressesInSubnet",
        "SpotMaxPriceTooLow",
    }
)
# About the type, its size, image or disk, as EC2 and reports of it name them. Where `Unsupported`
# names a zone, another zone may have the type.
_UNFIT = frozenset(
    {
        "ENASupportRequired",
        "InstanceTypeNotSupported",
        "InvalidInstanceType",
        "InvalidParameterCombination",
        "Unsupported",
        "UnsupportedHostConfiguration",
        "UnsupportedInstanceTypeOnHost",
        "UnsupportedOperation",
        "VolumeTypeNotAvailableInZone",
    }
)
_NO_QUOTA = frozenset(
    {
        "VcpuLimitExceeded",
        "InstanceLimitExceeded",
        "MaxSpotInstanceCountExceeded",
        "VolumeLimitExceeded",
        "AddressLimitExceeded",
        "ServiceQuotaExceededException",
    }
)
_ASK_AGAIN = frozenset(
    {
        "RequestLimitExceeded",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "InternalError",
        "InternalFailure",
        "InternalServerError",
        "InternalServerException",
        "ServiceUnavailable",
        "Unavailable",
        "RequestTimeout",
        "RequestTimeoutException",
    }
)
_SIGN_IN = "Sign in to AWS again (`aws sso login`, or renew the keys), then try again."
_APPLY_AGAIN = (
    "The set-up is missing, or of an earlier mlbroker: `mlbroker init --cloud aws --region …` "
    "writes it; apply it again."
)
_DOCTOR = "`mlbroker doctor --cloud aws` tells what is missing."
_HINTS = {
    "InvalidParameterValue": _DOCTOR,
    "NoSuchEntity": _DOCTOR,
    "ValidationException": _DOCTOR,
    "ResourceNotFoundException": _DOCTOR,
    "ExpiredToken": _SIGN_IN,
    "ExpiredTokenException": _SIGN_IN,
    "RequestExpired": "The credentials expired, or this machine's clock is wrong.",
    "InvalidClientTokenId": "These keys are not valid. " + _SIGN_IN,
    "UnrecognizedClientException": "These keys are not valid. " + _SIGN_IN,
    "AuthFailure": "The keys are not valid, or the region is not switched on for the account.",
    "OptInRequired": "Switch the region on for the account, or choose another with --region.",
    "SignatureDoesNotMatch": "The secret key is wrong, or this machine's clock is.",
    "VcpuLimitExceeded": "Ask AWS for a larger quota (Service Quotas, Amazon EC2).",
    "MaxSpotInstanceCountExceeded": "Ask AWS for a larger spot quota (Service Quotas, Amazon EC2).",
    "InvalidInstanceType": "No such machine type in this region: choose another.",
    "InvalidAMIID.NotFound": "No such image in this region: check resources.image_id.",
    "InvalidAMIID.Malformed": "Not an image of AWS: check resources.image_id.",
}
_PERMISSION = frozenset(
    {"UnauthorizedOperation", "AccessDenied", "AccessDeniedException", "AuthorizationError"}
)


class Calls:
    """Clients of the user's account, one for each service and region, made when first asked for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._clients: dict[tuple[str, str, int], Any] = {}

    @cached_property
    def session(self) -> Any:
        """The user's credentials, found as every tool of AWS finds them."""
        with library("aws"):
            import boto3
            from botocore.exceptions import BotoCoreError
        try:
            session = boto3.Session()
            found = session.get_credentials()
        except BotoCoreError as error:
            raise Denied(str(error), where="aws") from None
        if found is None:
            raise Denied(
                "no credentials found",
                where="aws",
                hint="Sign in: `aws configure`, `aws sso login`, or set AWS_PROFILE.",
            )
        return session

    def client(self, service: str, region: str, tries: int = TRIES) -> Any:
        """A client that tries again by itself for a short while; all our calls may be repeated."""
        kind = (service, region, tries)
        with self._lock:
            if kind not in self._clients:
                from botocore.config import Config

                config = Config(
                    connect_timeout=5,
                    read_timeout=30,
                    retries={"mode": "standard", "total_max_attempts": tries},
                    max_pool_connections=20,
                )
                self._clients[kind] = self.session.client(
                    service, region_name=region, config=config
                )
            return self._clients[kind]

    def listed(
        self, service: str, region: str, operation: str, key: str, **wanted: Any
    ) -> list[dict[str, Any]]:
        """All that a list has under `key`, however many pages it comes in."""
        pages = self.client(service, region).get_paginator(operation).paginate(**wanted)
        return [one for page in pages for one in page[key]]

    @cached_property
    def account(self) -> str:
        """The number of the account the credentials belong to."""
        with translated("aws"):
            answer = self.client("sts", self.home_region).get_caller_identity()
        return str(answer["Account"])

    @property
    def home_region(self) -> str:
        """Where questions go that belong to no region."""
        return str(self.session.region_name or "us-east-1")

    @cached_property
    def regions(self) -> tuple[str, ...]:
        """All regions that are switched on for the account."""
        with translated("aws"):
            answer = self.client("ec2", self.home_region).describe_regions()
        return tuple(sorted(region["RegionName"] for region in answer["Regions"]))


def endpoint() -> str | None:
    """Where the bucket is asked for, when not at AWS itself (loopback tests, private endpoints)."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")


@contextmanager
def translated(where: str) -> Iterator[None]:
    """Turn what the library raises into a CloudError that says what to do."""
    with library("aws"):
        from botocore.exceptions import (
            BotoCoreError,
            ClientError,
            HTTPClientError,
            NoCredentialsError,
            PartialCredentialsError,
            ProxyConnectionError,
        )

    try:
        yield
    except ClientError as error:
        raise translate(error.response.get("Error", {}), where) from None
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise Denied(str(error), where=where, hint=_SIGN_IN) from None
    except ProxyConnectionError as error:
        raise Unclear(str(error), where=where, hint="Check the proxy settings.") from None
    except HTTPClientError as error:
        raise Unclear(f"no answer: {error}", where=where) from None
    except BotoCoreError as error:
        raise Denied(str(error), where=where) from None


def translate(error: dict[str, Any], where: str) -> CloudError:
    """One of AWS's error codes as one of ours."""
    code, message = str(error.get("Code", "")), str(error.get("Message", "")).strip()
    text = f"{code}: {message}" if message else code
    if code in _NO_CAPACITY or (code == "Unsupported" and "Availability Zone" in message):
        return NoCapacity(text, where=where)
    if code in _NO_QUOTA:
        return NoQuota(text, where=where, hint=_HINTS.get(code))
    if code in _UNFIT:
        return Unfit(text, where=where, hint=_HINTS.get(code))
    # A bare status is no code of AWS's: somebody between may have swallowed its answer.
    if code in _ASK_AGAIN or not code or code.isdigit():
        return Unclear(text, where=where)
    hint = _APPLY_AGAIN if "iaminstanceprofile" in message.lower() else _HINTS.get(code)
    if code in _PERMISSION:
        hint = (
            "`mlbroker doctor --cloud aws --policies` prints the permissions that are needed. "
            "After an upgrade apply again what `mlbroker init --cloud aws` writes."
        )
    return Denied(text, where=where, hint=hint)


@contextmanager
def unless(*codes: str) -> Iterator[None]:
    """Go on where AWS says no with one of these codes."""
    from botocore.exceptions import ClientError

    try:
        yield
    except ClientError as error:
        if code_of(error) not in codes:
            raise


def code_of(error: Exception) -> str:
    """The vendor's own code of a ClientError."""
    return str(getattr(error, "response", {}).get("Error", {}).get("Code", ""))
