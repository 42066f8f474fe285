"""What people would have taken without mlbroker: the machine a saving is measured against."""

from collections.abc import Sequence

from mlbroker.pricing.book import Requirements
from mlbroker.pricing.offer import InstanceType
from mlbroker.pricing.vendors import vendor


def usual_type(
    requirements: Requirements,
    running: Sequence[tuple[int, InstanceType]],
    clouds: Sequence[str],
) -> tuple[int | None, str | None]:
    """The first usual type among those `running` (with their ids) that meets the job's first
    wish, with its home region.
    """
    wanted = {name for cloud in clouds for name in vendor(cloud).usual_types}
    known = {(kind.cloud, kind.name): (n, kind) for n, kind in running if kind.name in wanted}
    for cloud in clouds:
        for name in vendor(cloud).usual_types:
            number, kind = known.get((cloud, name), (None, None))
            if number is None or kind is None or requirements.unmet(kind.hardware):
                continue
            # A job that asks for no GPU would not have been given one.
            if (kind.hardware.gpu is None) == (not requirements.wants_gpu):
                return number, vendor(cloud).usual_region
    return None, None
