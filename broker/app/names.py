"""Names of clouds, regions and machine types that the price book does not know."""

from mlbroker.broker.app.listener import Listener
from mlbroker.broker.errors import InputError
from mlbroker.broker.files.yaml_fields import nearest_hint
from mlbroker.policies.candidates import Filters
from mlbroker.policies.planner.book import Book
from mlbroker.profiles.job import Job


def check_filters(filters: Filters, book: Book, types_from: str = "--instance-type") -> None:
    """Refuse names that the book does not know, with the nearest that it does."""
    kinds = [kind for _, _, kind in book.types()] if filters.instance_types else []
    places = list(book.regions().values()) if filters.clouds or filters.regions else []
    for flag, wanted, known in (
        ("--cloud", filters.clouds, {place.cloud for place in places}),
        ("--region", filters.regions, {place.name for place in places}),
        (types_from, filters.instance_types, {kind.name for kind in kinds}),
    ):
        for name in wanted:
            if name not in known:
                raise InputError(
                    f"{name!r} is not in the price book", where=flag, hint=_near(name, known)
                )
    if filters.clouds:
        here = {place.name for place in places if place.cloud in filters.clouds}
        for name in filters.regions:
            if name not in here:
                raise InputError(
                    f"{name!r} is no region of {' or '.join(filters.clouds)}",
                    where="--region",
                    hint=_near(name, here),
                )


def warn_of_unknown(job: Job, book: Book, listener: Listener) -> None:
    """Names in the job's resources that the book does not know: mistyped, or without a price."""
    places = book.regions().values()
    for option in job.resources:
        regions = {place.name for place in places if option.cloud in (None, place.cloud)}
        names = [
            ("cloud", option.cloud, {place.cloud for place in places}),
            ("region", option.region, regions or {place.name for place in places}),
        ]
        if option.instance_type is not None:
            kinds = {kind.name for _, _, kind in book.types()}
            names.append(("instance_type", option.instance_type, kinds))
        for field, name, known in names:
            if name is not None and name not in known:
                listener.warn(
                    f"resources: {field} {name!r} is not in the price book: {_near(name, known)}"
                )


def _near(name: str, known: set[str]) -> str:
    """A hint with the nearest known name."""
    first = f"known are {', '.join(sorted(known)[:8])}{' …' if len(known) > 8 else ''}"
    return nearest_hint(name, sorted(known), first)
