"""Where an attempt's time went, and the energy that it drew: for the books, when its machine ends.

Energy is taken from the guest's meters where it has some (NVML for GPUs, RAPL for processors), else
from how busy they were, else from the usual load. Method and coefficients: docs/carbon.md.
"""

from datetime import datetime
from typing import Any

from mlbroker.broker.clouds.guest_report import Figures, figures_of
from mlbroker.broker.ledger import Attempt
from mlbroker.broker.runs.order import LaunchOption, Order
from mlbroker.pricing.power import CPU_UTILISATION, METHOD, Supply

NVML, RAPL, UTILISATION, ASSUMED = "nvml", "rapl", "utilisation", "assumed"
# Beyond this a GPU's meter, or the processors', tells of another machine than the one described.
_MOST_TIMES = 2.0


def footprint(attempt: Attempt, order: Order, ended_at: datetime) -> dict[str, Any]:
    """Seconds of one machine by their use, kWh and kgCO2e of all; what nobody knows is null.

    `useful` are seconds of the command whose work counts, `lost` those since the last checkpoint of
    a command that did not finish, `unused` those in which it did nothing, and `setup` the rest of
    the machine's life.
    """
    stood_s = attempt.stood_s(ended_at)
    figures = figures_of(attempt.figures)
    return {
        "seconds": {"stood": round(stood_s, 3)} | _seconds(attempt, figures, stood_s),
        "energy": _energy(order.candidate(attempt), attempt.nodes, figures, stood_s),
    }


def _seconds(attempt: Attempt, figures: Figures | None, stood_s: float) -> dict[str, float | None]:
    if figures is None:
        # Before its command began, all was set-up; of one that nobody heard of, nobody knows.
        return dict.fromkeys(("setup", "useful", "unused", "lost"))
    command_s = min(figures.command_s, stood_s)
    kept_s = command_s if attempt.why == "finished" else min(figures.saved_s or 0.0, command_s)
    unused_s = min(figures.unused_s or 0.0, kept_s)
    told = {
        "setup": stood_s - command_s,
        "useful": kept_s - unused_s,
        "unused": unused_s,
        "lost": command_s - kept_s,
    }
    return {name: round(seconds, 3) for name, seconds in told.items()}


def _energy(
    option: LaunchOption, nodes: int, figures: Figures | None, stood_s: float
) -> dict[str, Any] | None:
    supply = option.supply
    if supply is None:
        return None
    joules, sources = _joules(supply, bool(option.gpu), figures, stood_s)
    kwh = joules * nodes * supply.pue / 3.6e6
    grid = supply.grid_kgco2e_per_kwh
    return {
        "kwh": kwh,
        "kgco2e": None if grid is None else kwh * grid,
        "source": "+".join(sources),
        "coefficients": METHOD,
    }


def _joules(
    supply: Supply, gpu: bool, figures: Figures | None, stood_s: float
) -> tuple[float, list[str]]:
    """Of one machine, without PUE, and where they are from: of its processors, then its GPUs."""
    draw = supply.draw
    if figures is None:
        return draw.watts(CPU_UTILISATION, float(gpu)) * stood_s, [ASSUMED]
    command_s = min(figures.command_s, stood_s)
    cpu = CPU_UTILISATION if figures.cpu is None else figures.cpu / draw.vcpus
    cpu_j = draw.cpu_w(cpu) * command_s
    sources = [ASSUMED if figures.cpu is None else UTILISATION]
    metered_j = figures.package_j
    if metered_j and metered_j <= _MOST_TIMES * draw.cpu_full_w * command_s:
        cpu_j, sources = metered_j, [RAPL]
    gpu_j = 0.0
    if gpu:
        gpu_j = draw.gpus_w(1.0 if figures.gpu is None else figures.gpu) * command_s
        source = ASSUMED if figures.gpu is None else UTILISATION
        if figures.gpu_w and figures.gpu_w <= _MOST_TIMES * draw.gpu_w:
            gpu_j, source = figures.gpu_w * command_s, NVML
        sources += [source] * (source not in sources)
    # Before and after its command a machine is idle.
    idle_j = (draw.cpu_idle_w + draw.gpus_w(0.0)) * (stood_s - command_s)
    return cpu_j + gpu_j + idle_j + draw.memory_w * stood_s, sources
