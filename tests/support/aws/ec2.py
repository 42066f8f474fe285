"""What EC2 insists on and moto does not: tokens, capacity, quota, spot prices, slow truth."""

import base64
import hashlib
import re
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

from tests.support.aws.faults import AwsFaults, Bucket
from tests.support.aws.machines import OWN, RECLAIMED, USER, Machines, Vm
from tests.support.aws.request import Request, refuse
from tests.support.aws.spot import SpotMarket
from tests.support.loopback_clock import VirtualClock
from tests.support.loopback_http import Answer

from mlbroker.pricing.burst import AWS_CREDITS

Forward = Callable[[Request], Answer]
NOTICE_S = 120.0
_BURSTABLE = re.compile(r"(t2|t3|t3a|t4g)\.")
ENABLED = ("eu-west-1", "us-east-1", "us-west-2")


class Ec2:
    """Stands before moto's EC2. `started` is told of each machine when it comes to life."""

    def __init__(
        self,
        clock: VirtualClock,
        faults: AwsFaults,
        account: str,
        started: Callable[[Vm], None],
        ended: Callable[[Vm], None],
    ) -> None:
        self.machines = Machines(clock, account)
        # RunInstances draws a token for every instance from a bucket of each region.
        self.launches: dict[str, Bucket] = {}
        # (type or *, zone or *, market or *) -> how many are left; absent is plenty.
        self.capacity: dict[tuple[str, str, str], int] = {}
        self.quota_vcpus: dict[str, int] = {}
        self.spot = SpotMarket(clock)
        # Spot machines are taken away this long after their start; None leaves them.
        self.preempt_after_s: float | None = None
        self.made: Counter[str] = Counter()
        self._clock = clock
        self._faults = faults
        self._account = account
        self._started = started
        self._ended = ended
        self._tokens: dict[tuple[str, str, str], tuple[str, Answer, list[str]]] = {}

    def answer(self, request: Request, forward: Forward) -> Answer:
        handler = {
            "RunInstances": self._run,
            "TerminateInstances": self._terminate,
            "DescribeRegions": self._regions,
            "GetConsoleOutput": self._console,
            "DescribeVolumes": self._volumes,
            "DescribeNetworkInterfaces": self._interfaces,
            "DescribeSpotPriceHistory": lambda request, _: self.spot.history(request),
        }.get(request.action)
        self.machines.impose()
        return handler(request, forward) if handler else forward(request)

    def calm(self) -> None:
        """Plenty of everything, at once."""
        for limits in (self.launches, self.capacity, self.quota_vcpus, self.spot):
            limits.clear()
        self.preempt_after_s = None
        self.machines.hidden_s = 0.0
        self._tokens = {key: kept for key, kept in self._tokens.items() if self._known(kept[2])}

    def _known(self, ids: list[str]) -> bool:
        return all(id_ in self.machines.all for id_ in ids)

    # What the vendor, or the machine, does by itself.

    def end(self, vm: Vm, why: tuple[str, str] = USER) -> None:
        if vm.ends_at is None:
            self.machines.end(vm, why)
            self._ended(vm)

    def power_off(self, vm: Vm) -> None:
        """The system on the machine shut down: what follows was said at launch."""
        if vm.behavior == "terminate":
            self.end(vm, OWN)

    def preempt(self, vm: Vm) -> None:
        """Announce the end of a spot machine, two minutes ahead."""
        vm.notice_at = self._clock.now()
        self._clock.after(NOTICE_S, partial(self.take_away, vm))

    def ask(self, zone: str, kind: str, usd: float) -> None:
        """The zone's spot price from now on; who bid less is given notice."""
        self.spot.ask(zone, kind, usd)
        for vm in self.machines.living():
            if (vm.zone, vm.instance_type, vm.market) == (zone, kind, "spot") and vm.bid_usd < usd:
                self.preempt(vm)

    def billed_usd(self, vms: list[Vm], on_demand_usd: float) -> float:
        """What these machines have come to by now: by the second, a minute at least."""
        now, usd = self._clock.now(), 0.0
        for vm in vms:
            hours = max(60.0, vm.billed_s(now)) / 3600
            rate = vm.surplus_usd_per_hour
            if vm.market == "spot":
                usd += self.spot.billed_usd(vm, now)
            else:
                rate += on_demand_usd
            usd += rate * hours
        return usd

    def take_away(self, vm: Vm) -> None:
        """Reclaimed, without a word."""
        self.end(vm, RECLAIMED)

    def _run(self, request: Request, forward: Forward) -> Answer:
        params = request.params
        count = int(params.get("MinCount", "1"))
        bucket = self.launches.setdefault(request.region, Bucket(1000, 2))
        if not bucket.take(count, self._clock.now()):
            return refuse("RequestLimitExceeded", "Request limit exceeded.", "503 Unavailable")
        zone = self._zone(request.region, params)
        market = params.get("InstanceMarketOptions.MarketType", "on_demand")
        asked_for = params.get("CreditSpecification.CpuCredits")
        if asked_for and not _BURSTABLE.match(params["InstanceType"]):
            return refuse(
                "InstanceCreditSpecification.NotSupported",
                f"The {params['InstanceType']} instance type does not support T2 Unlimited.",
            )
        profile = params.get("IamInstanceProfile.Name")
        if profile and not self._has_profile(profile):
            return refuse(
                "InvalidParameterValue",
                f"Value ({profile}) for parameter iamInstanceProfile.name is invalid. "
                "Invalid IAM Instance Profile name",
            )
        token = (request.region, zone, params.get("ClientToken", ""))
        digest = hashlib.sha256(repr(sorted(params.items())).encode()).hexdigest()
        if token[2] and token in self._tokens:
            return self._replay(token, digest)
        if market == "spot":
            refusal = self.spot.refusal(zone, params["InstanceType"], _bid_usd(params))
            if refusal is not None:
                return refusal
        refusal = self._room(request.region, params["InstanceType"], zone, market, count)
        if refusal is not None:
            return refusal
        answer = forward(request)
        if answer.ok:
            ids = re.findall(r"<instanceId>(i-[0-9a-f]+)</instanceId>", answer.body.decode())
            answer.body = self._as_launched(answer.body)
            self._keep(request, zone, market, ids)
            self._tokens[token] = (digest, answer, ids)
            self.made[token[2]] += 1
        return answer

    def _as_launched(self, body: bytes) -> bytes:
        for pattern, text in (
            (rb"<name>running</name>", b"<name>pending</name>"),
            (rb"<code>16</code>", b"<code>0</code>"),
            (
                rb"<launchTime>[^<]*</launchTime>",
                f"<launchTime>{self._clock.now():%Y-%m-%dT%H:%M:%S}.000Z</launchTime>".encode(),
            ),
        ):
            body = re.sub(pattern, text, body)
        return body

    def _replay(self, token: tuple[str, str, str], digest: str) -> Answer:
        before, answer, ids = self._tokens[token]
        if digest != before:
            return refuse(
                "IdempotentParameterMismatch",
                "Arguments on this idempotent request are inconsistent with arguments used in "
                "previous request(s).",
            )
        if any(self.machines.all[id_].ends_at is not None for id_ in ids):
            return refuse(
                "IdempotentInstanceTerminated",
                "The request to launch an instance uses the same client token as a previous "
                "request for which the instance has been terminated.",
            )
        return answer

    def _room(
        self, region: str, instance_type: str, zone: str, market: str, count: int
    ) -> Answer | None:
        used = sum(
            vcpus_of(vm.instance_type)
            for vm in self.machines.living()
            if vm.region == region and vm.market == market
        )
        allowed = self.quota_vcpus.get(market)
        if allowed is not None and used + vcpus_of(instance_type) * count > allowed:
            if market == "spot":
                return refuse("MaxSpotInstanceCountExceeded", "Max spot instance count exceeded")
            return refuse(
                "VcpuLimitExceeded",
                f"You have requested more vCPU capacity than your current vCPU limit of {allowed} "
                "allows.",
            )
        keys = [(t, z, m) for t in (instance_type, "*") for z in (zone, "*") for m in (market, "*")]
        for key in keys:
            if key not in self.capacity:
                continue
            if self.capacity[key] < count:
                return refuse(
                    "InsufficientInstanceCapacity",
                    f"We currently do not have sufficient {instance_type} capacity in the "
                    f"Availability Zone you requested ({zone}).",
                    "500 Internal Server Error",
                )
            self.capacity[key] -= count
            break
        return None

    def _keep(self, request: Request, zone: str, market: str, ids: list[str]) -> None:
        params = request.params
        now = self._clock.now().replace(microsecond=0)
        for index, id_ in enumerate(ids):
            vm = Vm(
                id=id_,
                region=request.region,
                zone=zone,
                instance_type=params["InstanceType"],
                market=market,
                token=params.get("ClientToken", ""),
                tags=_instance_tags(params),
                user_data=base64.b64decode(params.get("UserData", "")).decode(),
                index=index,
                launched_at=now,
                behavior=params.get("InstanceInitiatedShutdownBehavior", "stop"),
                bid_usd=_bid_usd(params),
                surplus_usd_per_hour=_surplus_usd_per_hour(params),
            )
            self.machines.add(vm)
            self._clock.after(self.machines.boot_s, partial(self._boot, vm))

    def _boot(self, vm: Vm) -> None:
        if vm.ends_at is None:
            self._started(vm)
            if vm.market == "spot" and self.preempt_after_s is not None:
                self._clock.after(self.preempt_after_s, partial(self.preempt, vm))
                self.preempt_after_s = None

    def _terminate(self, request: Request, forward: Forward) -> Answer:
        ids = request.listed("InstanceId")
        unknown = [id_ for id_ in ids if id_ not in self.machines.all or self._is_hidden(id_)]
        if unknown:
            return refuse(
                "InvalidInstanceID.NotFound", f"The instance ID '{unknown[0]}' does not exist"
            )
        items = "".join(
            f"<item><instanceId>{id_}</instanceId><currentState><code>32</code>"
            "<name>shutting-down</name></currentState><previousState><code>16</code>"
            "<name>running</name></previousState></item>"
            for id_ in ids
        )
        if not self._faults.take("late_deletes"):
            for id_ in ids:
                self.end(self.machines.all[id_])
        return _xml("TerminateInstancesResponse", f"<instancesSet>{items}</instancesSet>")

    def _regions(self, request: Request, forward: Forward) -> Answer:
        items = "".join(
            f"<item><regionName>{name}</regionName>"
            f"<regionEndpoint>ec2.{name}.amazonaws.com</regionEndpoint>"
            "<optInStatus>opt-in-not-required</optInStatus></item>"
            for name in ENABLED
        )
        return _xml("DescribeRegionsResponse", f"<regionInfo>{items}</regionInfo>")

    def _volumes(self, request: Request, forward: Forward) -> Answer:
        kept = self._faults.disks_stay
        ids = [vm.id for vm in self._tagged(request) if kept or vm.ends_at is None]
        items = "".join(f"<item><volumeId>vol-{id_}</volumeId></item>" for id_ in ids)
        return _xml("DescribeVolumesResponse", f"<volumeSet>{items}</volumeSet>")

    def _interfaces(self, request: Request, forward: Forward) -> Answer:
        kept = self._faults.interfaces_stay
        ids = [vm.id for vm in self._tagged(request) if kept or vm.ends_at is None]
        items = "".join(
            f"<item><networkInterfaceId>eni-{i}</networkInterfaceId></item>" for i in ids
        )
        inner = f"<networkInterfaceSet>{items}</networkInterfaceSet>"
        return _xml("DescribeNetworkInterfacesResponse", inner)

    def _tagged(self, request: Request) -> list[Vm]:
        """Machines whose volumes and interfaces bear the tag that is asked for."""
        key = request.params["Filter.1.Name"].removeprefix("tag:")
        value = request.params["Filter.1.Value.1"]
        return [vm for vm in self.machines.all.values() if vm.tags.get(key) == value]

    def _console(self, request: Request, forward: Forward) -> Answer:
        id_ = request.params.get("InstanceId", "")
        text = base64.b64encode(self.console(id_).encode()).decode()
        return _xml(
            "GetConsoleOutputResponse",
            f"<instanceId>{id_}</instanceId><output>{text}</output>",
        )

    def console(self, id_: str) -> str:
        """What a machine wrote on its console; the executing guests put it here."""
        return ""

    def _zone(self, region: str, params: dict[str, str]) -> str:
        from moto.ec2.models import ec2_backends

        subnet = params.get("NetworkInterface.1.SubnetId") or params.get("SubnetId")
        if not subnet:
            return params.get("Placement.AvailabilityZone", "")
        backend: Any = ec2_backends[self._account][region]
        found = backend.describe_subnets(filters={"subnet-id": [subnet]})
        return str(found[0].availability_zone) if found else ""

    def _has_profile(self, name: str) -> bool:
        from moto.iam.models import iam_backends

        backend: Any = iam_backends[self._account]["aws"]
        return any(profile.name == name for profile in backend.instance_profiles.values())

    def _is_hidden(self, id_: str) -> bool:
        return self.machines.is_hidden(id_)


def vcpus_of(instance_type: str) -> int:
    """From moto's own copy of AWS's list of machine types."""
    from moto.ec2.models.instance_types import INSTANCE_TYPES

    found = INSTANCE_TYPES.get(instance_type)
    return int(found["VCpuInfo"]["DefaultVCpus"]) if found else 0


def _bid_usd(params: dict[str, str]) -> float:
    return float(params.get("InstanceMarketOptions.SpotOptions.MaxPrice", "inf"))


def _surplus_usd_per_hour(params: dict[str, str]) -> float:
    """What a machine at full use is billed for credits, which `unlimited` ones owe at their end."""
    kind = params["InstanceType"]
    burstable = _BURSTABLE.match(kind)
    if burstable is None:
        return 0.0
    default = "standard" if burstable[1] == "t2" else "unlimited"
    if params.get("CreditSpecification.CpuCredits", default) == "standard":
        return 0.0
    credits = AWS_CREDITS.get(kind)
    assert credits is not None, kind
    # On Linux, as the page of EC2's on-demand prices says.
    rate = 0.04 if burstable[1] == "t4g" else 0.05
    return (1 - credits.baseline) * vcpus_of(kind) * rate


def _instance_tags(params: dict[str, str]) -> dict[str, str]:
    tags: dict[str, str] = {}
    for number in range(1, 10):
        if params.get(f"TagSpecification.{number}.ResourceType") != "instance":
            continue
        prefix = f"TagSpecification.{number}.Tag."
        for index in range(1, 51):
            key = params.get(f"{prefix}{index}.Key")
            if key is not None:
                tags[key] = params.get(f"{prefix}{index}.Value", "")
    return tags


def _xml(name: str, inner: str) -> Answer:
    namespace = "http://ec2.amazonaws.com/doc/2016-11-15/"
    text = f'<{name} xmlns="{namespace}"><requestId>0</requestId>{inner}</{name}>'
    return Answer("200 OK", [("Content-Type", "text/xml")], text.encode())
