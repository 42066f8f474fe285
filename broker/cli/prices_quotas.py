"""`mlbroker prices quotas`: what the account may have, and where capacity was short lately."""

from collections.abc import Collection
from datetime import UTC, datetime

from mlbroker.broker.errors import CloudError, InputError
from mlbroker.broker.home import home
from mlbroker.broker.http import Http
from mlbroker.broker.output import print_json, print_table, say
from mlbroker.broker.prices.feeds import quota_feeds
from mlbroker.broker.prices.price_book import PriceBook
from mlbroker.broker.prices.quotas import load, save
from mlbroker.broker.prices.shortages import lately


def refresh_quotas(
    book: PriceBook, clouds: Collection[str] | None, regions: Collection[str] | None
) -> None:
    """Fetch the quotas of some clouds and regions; a cloud that fails keeps its old ones."""
    failures, feeds = [], quota_feeds()
    for name in dict.fromkeys(clouds or feeds):
        if name not in feeds:
            raise InputError(f"--cloud {name!r} has no quotas", hint=", ".join(feeds))
        known = {region.name for region in book.regions().values() if region.cloud == name}
        wanted = known & set(regions) if regions else known
        try:
            found = feeds[name].quotas(wanted, Http())
        except CloudError as error:
            failures.append(str(error))
            continue
        save(home(), name, found, datetime.now(UTC))
        say(f"{name}: {len(found):,} quotas")
    if failures:
        raise CloudError("\n".join(failures))


def show_quotas(
    clouds: Collection[str] | None, regions: Collection[str] | None, as_json: bool
) -> None:
    """Print the quotas and shortages that plans heed."""
    known = load(home())
    chosen = [
        quota
        for quota in known.all
        if (not clouds or quota.cloud in clouds) and (not regions or quota.region in regions)
    ]
    shortages = [
        shortage
        for shortage in lately(home(), datetime.now(UTC))
        if (not clouds or shortage.cloud in clouds) and (not regions or shortage.region in regions)
    ]
    if as_json:
        print_json(
            {
                "schema": "mlbroker.prices.quotas/1",
                "as_of": known.as_of,
                "quotas": [quota._asdict() for quota in chosen],
                "shortages": [
                    shortage._asdict() | {"at": shortage.at.isoformat(timespec="seconds")}
                    for shortage in shortages
                ],
            }
        )
        return
    if not known.all:
        say("No quotas known: `mlbroker prices quotas --refresh` asks the clouds.")
    if chosen:
        print_table(
            ("cloud", "region", "market", "allowed", "in use", "unit", "as of", "quota"),
            [
                (
                    quota.cloud,
                    quota.region,
                    "spot" if quota.spot else "on_demand",
                    f"{quota.limit:g}",
                    "unknown" if quota.used is None else f"{quota.used:g}",
                    quota.gpu or quota.unit,
                    known.as_of.get(quota.cloud, "unknown"),
                    quota.name,
                )
                for quota in chosen
            ],
            right=("allowed", "in use"),
        )
    for shortage in shortages:
        where = shortage.zone or shortage.region
        market = "spot" if shortage.spot else "on-demand"
        say(
            f"Short: {shortage.cloud} {where} {shortage.instance_type} {market}"
            f" at {shortage.at:%H:%M} UTC: {shortage.detail}"
        )
