"""EventBridge Scheduler and Systems Manager, as far as they end machines at the kill time."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from tests.support.aws.ec2 import Ec2
from tests.support.aws.faults import AwsFaults
from tests.support.aws.request import Request, refuse_json
from tests.support.loopback_clock import VirtualClock
from tests.support.loopback_http import Answer

_AT = re.compile(r"at\((\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\)")
_TARGET = "arn:aws:scheduler:::aws-sdk:ssm:startAutomationExecution"
# The scheduler fires within the minute; each step of an automation takes its time.
LATE_S = 59.0
AUTOMATION_S = 45.0


class Kills:
    """Watches schedules being made, and fires them on the virtual clock."""

    def __init__(self, clock: VirtualClock, faults: AwsFaults, ec2: Ec2, account: str) -> None:
        self._clock = clock
        self._faults = faults
        self._ec2 = ec2
        self._account = account
        self.fired: list[str] = []
        self.dead_letters: list[tuple[str, str]] = []

    def answer(self, request: Request, forward: Callable[[Request], Answer]) -> Answer:
        if request.action == "CreateSchedule":
            fault = self._wrong(request.json())
            if fault:
                return refuse_json("ValidationException", fault)
        answer = forward(request)
        if request.action == "CreateSchedule" and answer.ok:
            name = request.path.rpartition("/")[2]
            moment = _AT.fullmatch(request.json()["ScheduleExpression"])
            assert moment
            when = datetime.fromisoformat(moment.group(1)).replace(tzinfo=UTC)
            region = request.region
            self._clock.at(max(when, self._clock.now()), lambda: self._fire(region, name, LATE_S))
        return answer

    def schedules(self) -> list[Any]:
        """All schedules there are."""
        from moto.scheduler.models import scheduler_backends

        return [
            schedule
            for backend in list(scheduler_backends[self._account].values())
            for group in backend.schedule_groups.values()
            for schedule in group.schedules.values()
        ]

    def _wrong(self, wanted: dict[str, Any]) -> str | None:
        """What the real service, or the automation it starts, would not take."""
        if not _AT.fullmatch(wanted["ScheduleExpression"]):
            return f"Invalid Schedule Expression {wanted['ScheduleExpression']}"
        if wanted["Target"]["Arn"] != _TARGET:
            return "Provided Arn is not in correct format"
        if not re.fullmatch(r"arn:aws:iam::\d{12}:role/.+", wanted["Target"]["RoleArn"]):
            return "RoleArn is not a role"
        role = self._role(wanted["Target"]["RoleArn"].rpartition("/")[2])
        trust = json.dumps(_parsed(role.assume_role_policy_document)) if role else ""
        if "scheduler.amazonaws.com" not in trust:
            return (
                "The execution role you provide must allow AWS EventBridge Scheduler to assume "
                "the role."
            )
        return None

    def _fire(self, region: str, name: str, late_s: float) -> None:
        from moto.scheduler.models import scheduler_backends

        group = scheduler_backends[self._account][region].schedule_groups["default"]
        schedule = group.schedules.get(name)
        if schedule is None or not self._faults.kill_works:
            return
        if late_s:
            self._clock.after(late_s, lambda: self._fire(region, name, 0.0))
            return
        self.fired.append(name)
        reason: str | None = self._automation_refused(schedule.target, region)
        if reason is not None:
            self.dead_letters.append((name, reason))
            return
        wanted = json.loads(schedule.target["Input"])
        key, values = wanted["Targets"][0]["Key"], wanted["Targets"][0]["Values"]

        def terminate() -> None:
            for vm in self._ec2.machines.by_tag(region, key.removeprefix("tag:"), values):
                self._ec2.end(vm)

        self._clock.after(AUTOMATION_S + self._faults.kill_late_s, terminate)

    def _automation_refused(self, target: dict[str, Any], region: str) -> str | None:
        wanted = json.loads(target["Input"])
        if wanted.get("DocumentName") != "AWS-TerminateEC2Instance":
            return "no such document"
        if wanted.get("TargetParameterName") != "InstanceId":
            return "TargetParameterName is not a parameter of the document"
        targets = wanted.get("Targets", [])
        if len(targets) != 1 or not targets[0]["Key"].startswith("tag:"):
            return "exactly one tag target is supported"
        assumed = wanted.get("Parameters", {}).get("AutomationAssumeRole", [target["RoleArn"]])[0]
        role = self._role(assumed.rpartition("/")[2])
        if role is None or "ssm.amazonaws.com" not in json.dumps(
            _parsed(role.assume_role_policy_document)
        ):
            return "Systems Manager cannot assume the role"
        allowed = self._role_actions(target["RoleArn"].rpartition("/")[2])
        needed = {
            "ssm:StartAutomationExecution",
            "ec2:TerminateInstances",
            "ec2:DescribeInstances",
            "ec2:DescribeInstanceStatus",
            "iam:PassRole",
            "tag:GetResources",
        }
        missing = needed - allowed
        return f"not authorized: {', '.join(sorted(missing))}" if missing else None

    def _role(self, name: str) -> Any:
        from moto.iam.models import iam_backends

        backend: Any = iam_backends[self._account]["aws"]
        return next((role for role in backend.roles.values() if role.name == name), None)

    def _role_actions(self, name: str) -> set[str]:
        role = self._role(name)
        actions: set[str] = set()
        for document in role.policies.values() if role else ():
            for statement in _parsed(document)["Statement"]:
                listed = statement["Action"]
                actions.update([listed] if isinstance(listed, str) else listed)
        return actions


def _parsed(document: Any) -> Any:
    return json.loads(document) if isinstance(document, str) else document
