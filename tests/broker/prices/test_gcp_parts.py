"""GCP's catalogue: which SKU prices what, and what a machine made of it costs."""

from decimal import Decimal
from typing import Any

from tests.support.price_servers import gcp_sku, gcp_skus

from mlbroker.broker.prices.feeds.gcp.machines import CatalogueMachine as Machine
from mlbroker.broker.prices.feeds.gcp.skus import read_skus


def test_gcp_parts_are_told_from_commitments_and_sole_tenancy() -> None:
    prices = read_skus(gcp_skus())
    iowa = ("us-central1", False)
    assert prices.cores == {
        (family, (region, spot)): price
        for family in ("n1", "a2")
        for region in ("us-central1", "europe-west1")
        for spot, price in ((False, 31_611_000), (True, 9_483_300))
    }
    machine = Machine("n1-standard-4", 4, 15)
    assert machine.price(prices, iowa) == 4 * 31_611_000 + 15 * 4_237_000
    assert Machine("n9-standard-4", 4, 15).price(prices, iowa) is None
    assert Machine("a2-x", 4, 15, "nvidia-tesla-v100", 1).price(prices, iowa) is None
    assert Machine("n1-lssd", 4, 15, local_ssds=1).price(prices, iowa) is None


def test_gcp_local_disks_and_shared_cores_are_billed_as_google_does() -> None:
    text = "SSD backed Local Storage in Iowa"
    skus = [
        gcp_sku(text, "OnDemand", ["us-central1"], 73_000_000, "GiBy.mo"),
        gcp_sku("E2 Instance Core running in Iowa", "OnDemand", ["us-central1"], 20_000_000, "h"),
        gcp_sku(
            "E2 Instance Ram running in Iowa", "OnDemand", ["us-central1"], 2_000_000, "GiBy.h"
        ),
        gcp_sku("Compute optimized Core running in Iowa", "OnDemand", ["us-central1"], 0, "h"),
    ]
    prices = read_skus(skus)
    iowa = ("us-central1", False)
    assert prices.dishonest == 1
    assert Machine("e2-small", 2, 2, shared=True).price(prices, iowa) == 14_000_000
    assert Machine("e2-lssd", 2, 2, local_ssds=2).price(prices, iowa) == 44_000_000 + 75_000_000


def sku(text: str, nanos: int, unit: str = "h", use: str = "OnDemand") -> dict[str, Any]:
    return gcp_sku(text, use, ["r"], nanos, unit)


HERE, HERE_SPOT = ("r", False), ("r", True)


def test_gcp_machines_that_are_not_their_familys_parts_cost_what_others_say_they_do() -> None:
    """Parts as the catalogue had them for Tokyo; machines as the embedded book has them there."""
    premium = "Memory Optimized Upgrade Premium for Memory-optimized Instance"
    prices = read_skus(
        [
            sku("Memory-optimized Instance Core running in Tokyo", 42_600_000),
            sku("Memory-optimized Instance Ram running in Tokyo", 6_200_000, "GiBy.h"),
            sku(f"{premium} Core running in Tokyo", 5_538_000),
            sku(f"{premium} Ram running in Tokyo", 806_000, "GiBy.h"),
            sku("Micro Instance with burstable CPU running in Tokyo", 9_200_000),
            sku("Small Instance with 1 VCPU running in Tokyo", 32_200_000),
        ]
    )
    for machine, usd in (
        (Machine("m1-ultramem-40", 40, 961), "7.6622"),
        (Machine("m2-ultramem-208", 208, 5888), "51.264032"),
        (Machine("f1-micro", 1, 0.6, shared=True), "0.0092"),
        (Machine("g1-small", 1, 1.7, shared=True), "0.0322"),
    ):
        assert machine.price(prices, HERE) == int(Decimal(usd) * 10**9)
        assert machine.price(prices, HERE_SPOT) is None


def test_gcp_machines_with_a_catalogue_name_of_their_own_take_no_others_parts() -> None:
    """M4's parts are not those of its widest machine, nor are A3's those of its later ones."""

    def parts(family: str, core: int) -> list[dict[str, Any]]:
        return [
            sku(f"{family} Instance Core running in Americas", core),
            sku(f"{family} Instance Ram running in Americas", 1, "GiBy.h"),
        ]

    h100 = sku("Nvidia H100 80GB GPU running in Americas", 100)
    prices = read_skus([*parts("M4", 10), *parts("A3", 20), h100])
    wide, mega = Machine("m4-ultramem-224", 224, 5952), "nvidia-h100-mega-80gb"
    later = Machine("a3-megagpu-8g", 208, 1872, mega, 8)
    ultra = Machine("a3-ultragpu-8g", 224, 2952, "nvidia-h200-141gb", 8)
    assert Machine("m4-megamem-28", 28, 372).price(prices, HERE) == 28 * 10 + 372
    assert Machine("a3-highgpu-1g", 26, 234, "nvidia-h100-80gb", 1).price(prices, HERE) == 854
    assert [m.price(prices, HERE) for m in (wide, later, ultra)] == [None, None, None]
    prices = read_skus(
        [
            *parts("M4Ultramem224", 11),
            *parts("A3Plus", 21),
            *parts("A3Ultra", 22),
            sku("Nvidia H100 80GB Plus GPU running in Americas", 200),
            sku("Nvidia H100 80GB Mega GPU running in Americas", 150),
            sku("H200 141GB GPU running in Americas", 300),
        ]
    )
    assert wide.price(prices, HERE) == 224 * 11 + 5952
    assert later.price(prices, HERE) == 208 * 21 + 1872 + 8 * 200, "of two, the dearer"
    assert ultra.price(prices, HERE) == 224 * 22 + 2952 + 8 * 300


def test_gcp_gpus_that_hold_a_whole_machine_and_shares_of_a_gpu() -> None:
    slice_ = "A4 Nvidia B200 (1 gpu slice) running in Americas"
    prices = read_skus(
        [
            sku(slice_, 1000),
            sku(f"Spot Preemptible {slice_}", 400),  # filed under OnDemand
            sku("G4 Instance Core running in Americas", 1),
            sku("G4 Instance Ram running in Americas", 1, "GiBy.h"),
            sku("RTX 6000 96GB running in Americas", 500),
        ]
    )
    whole = Machine("a4-highgpu-8g", 224, 3968, "nvidia-b200", 8, local_ssds=32)
    assert (whole.price(prices, HERE), whole.price(prices, HERE_SPOT)) == (8000, 3200)
    rtx = "nvidia-rtx-pro-6000"
    assert Machine("g4-standard-48", 48, 180, rtx, 1).price(prices, HERE) == 48 + 180 + 500
    assert Machine("g4-standard-6", 6, 22, rtx, 1).price(prices, HERE) is None, "an eighth of one"


def test_gcp_disks_have_their_familys_price_and_spot_is_never_taken_for_on_demand() -> None:
    prices = read_skus(
        [
            sku("C4D Instance Local SSD running in Americas", 1460, "GiBy.mo"),
            sku("SSD backed Local Storage", 730, "GiBy.mo"),
            sku("SSD backed Local Storage attached to Spot Preemptible VMs", 73, "GiBy.mo"),
            *(
                sku(f"{family} Instance {part} running in Americas", 1, unit)
                for family in ("C4D", "Z3")
                for part, unit in (("Core", "h"), ("Ram", "GiBy.h"))
            ),
        ]
    )
    assert Machine("c4d-standard-8-lssd", 8, 31, local_ssds=1).price(prices, HERE) == 39 + 750
    assert Machine("z3-highmem-8-highlssd", 8, 64, local_ssds=1).price(prices, HERE) == 72 + 375
    assert prices.disk_of("z3", HERE_SPOT) == 0.1
    assert prices.disk_of("c4d", HERE_SPOT) == 0.1
