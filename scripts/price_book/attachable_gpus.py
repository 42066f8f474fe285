"""GCP's attachable GPUs as machines one can buy: an N1 machine with T4, V100, P100 or P4 GPUs.

Such a machine is named "n1-standard-4+nvidia-tesla-t4:1" and costs the N1 machine plus the GPUs.
"""

from scripts.price_book.tables import Row, iso_day


def compose(
    types: list[Row], offers: list[Row], accelerators: list[Row], rules: list[Row]
) -> tuple[list[Row], list[Row]]:
    """Types and offers of every legal pair of an N1 machine and a number of GPUs.

    An offer exists where both parts have a price in that region and market; it is as old as the
    older of the two, and stale when either is.
    """
    machines = [
        row for row in types if row["cloud"] == "gcp" and row["instance_type"].startswith("n1-")
    ]
    machine_prices: dict[str, list[Row]] = {row["instance_type"]: [] for row in machines}
    for offer in offers:
        if offer["cloud"] == "gcp" and offer["instance_type"] in machine_prices:
            machine_prices[offer["instance_type"]].append(offer)
    gpu_prices = {(row["accelerator"], row["region"], row["market"]): row for row in accelerators}
    new_types: list[Row] = []
    new_offers: list[Row] = []
    for machine in machines:
        for rule in rules:
            if not _legal(machine, rule):
                continue
            composed = _type(machine, rule)
            found = [
                _offer(composed["instance_type"], offer, gpu, rule["gpu_count"])
                for offer in machine_prices[machine["instance_type"]]
                if (gpu := gpu_prices.get((rule["accelerator"], offer["region"], offer["market"])))
            ]
            if found:
                new_types.append(composed)
                new_offers += found
    return new_types, new_offers


def _legal(machine: Row, rule: Row) -> bool:
    return bool(
        machine["vcpus"] <= rule["max_n1_vcpus"]
        and machine["memory_gib"] <= rule["max_n1_memory_gib"]
    )


def _type(machine: Row, rule: Row) -> Row:
    return machine | {
        "instance_type": f"{machine['instance_type']}+{rule['accelerator']}:{rule['gpu_count']}",
        "gpu_model": rule["gpu_model"],
        "gpu_count": float(rule["gpu_count"]),
        "gpu_memory_gib": float(rule["gpu_memory_gib"]),
    }


def _offer(name: str, machine: Row, gpu: Row, count: int) -> Row:
    price = machine["price_per_hour_usd"] + count * gpu["usd_per_gpu_hour"]
    return machine | {
        "instance_type": name,
        "price_per_hour_usd": round(price, 9),
        "as_of": min(iso_day(machine["as_of"]), iso_day(gpu["as_of"])),
        "source": f"{machine['source']}+{gpu['source']}",
    }
