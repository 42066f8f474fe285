"""Who judges a job: by which policy file, and whose money it is."""

from pathlib import Path
from typing import TYPE_CHECKING

from mlbroker.broker.home import policy_path

if TYPE_CHECKING:
    from mlbroker.policies.guardrails.judge import Judge, Policy


def policy_of(option: Path | None, job: Path = Path("job.yaml")) -> "Policy | None":
    """The policy file of `option`, else the nearest upward from the job, or from here; None without
    one.
    """
    path = policy_path(job, option)
    if path is None:
        return None
    # Few users have a policy file: nothing of the rules is imported for the others.
    from mlbroker.broker.files.policy_file import load_policy

    return load_policy(path)


def file_of(job: Path, option: Path | None) -> str | None:
    """The policy file of `option`, else the nearest upward from the job; None without one."""
    path = policy_path(job, option)
    return None if path is None else str(path.absolute())


def judge_of(
    job: Path,
    option: Path | None,
    *,
    project: str | None = None,
    user: str | None = None,
    reason: str | None = None,
) -> "Judge | None":
    """The judge by the policy file of `option`, else the nearest upward from the job, if any.

    `project`, `user` and `reason` are what the caller was told of them.
    """
    policy = policy_of(option, job)
    if policy is None:
        return None
    from mlbroker.broker.runs.launch import current_project, current_user
    from mlbroker.policies.guardrails.interface import Who
    from mlbroker.policies.guardrails.judge import Judge

    who = Who(user or current_user(), current_project(job, project))
    return Judge(policy, who, reason)
