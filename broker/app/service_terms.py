"""What the command line and the job file say of a service under a budget, checked."""

from pathlib import Path

from mlbroker.broker.app.listener import Listener
from mlbroker.broker.errors import InputError, NothingFeasible
from mlbroker.broker.words import money
from mlbroker.policies.service.interface import UNBOUNDED, usd
from mlbroker.policies.service.replay import Engine
from mlbroker.profiles.job import Job, Replicas
from mlbroker.profiles.service import Measure, Service

_MOST = 1e9


def service_of(job: Job, path: Path, wanted: str) -> tuple[Service, Replicas]:
    """The service of a job file; InputError where it has none. `wanted` says what for."""
    if job.service is None or job.replicas is None:
        raise InputError(
            f"is no service: {wanted}",
            where=str(path),
            hint="it has a block `service: {replica_policy: {min_replicas: 1, max_replicas: 20}}`",
        )
    return job.service, job.replicas


def most_of(service: Service, replicas: Replicas) -> int:
    """The most replicas that the engine has by its own file; UNBOUNDED where that names none."""
    if not service.scales:
        return replicas.least
    return UNBOUNDED if service.most is None else service.most


def rps_of(service: Service, told_rps: float | None, known_rps: float | None = None) -> float:
    """What a replica serves: as told with `--capacity-rps`, else as known, else by its engine."""
    flag = "--capacity-rps" if told_rps is not None else "target_qps_per_replica"
    found = next(
        (rps for rps in (told_rps, known_rps, service.target_rps) if rps is not None), None
    )
    if found is None:
        hint = "or `target_qps_per_replica` in the job file's replica_policy"
        raise InputError("how many requests a second a replica serves is not said",
                         where="--capacity-rps", hint=hint)  # fmt: skip
    above_zero(flag, found)
    return found


def queue_s_of(service: Service) -> float:
    """How long one may wait over the cap, and still be in time."""
    objective = service.objective
    if objective is None or objective.measure is Measure.TPOT:
        return service.queue_s
    return min(service.queue_s, objective.within_s)


def tell_of_queue(service: Service, listener: Listener) -> None:
    """A warning where the objective is shorter than the queue that is allowed."""
    queue_s = queue_s_of(service)
    if queue_s < service.queue_s:
        listener.warn(
            f"who waits longer than the objective of {queue_s:g} s is late:"
            " turned away then, and not only at over_cap.queue"
        )


def engine_of(service: Service, rps: float) -> Engine:
    """As its file has it; nobody waits for longer than the objective allows."""
    return Engine(
        rps,
        queue_s=queue_s_of(service),
        upscale_ms=round(service.upscale_s * 1000),
        downscale_ms=round(service.downscale_s * 1000),
    )


def above_zero(flag: str, value: float) -> None:
    """InputError for what is no number above zero."""
    if not 0 < value < _MOST:
        raise InputError(f"{value:g} is not a number above zero", where=flag)


def too_little(
    least: int, least_cap: int, cap: int, path: Path, span: str = "all the time"
) -> NothingFeasible:
    """A cap (in units) that even the fewest replicas break."""
    would_do = money(usd(least_cap), least=True)
    return NothingFeasible(
        f"the fewest replicas ({least}) cost {would_do} USD {span},"
        f" and the cap is {money(usd(cap))} USD",
        where=str(path),
        hint=f"a cap of {would_do} USD is the least that would do, or fewer min_replicas",
    )
