"""What a disk is billed as, where that is not its size.

Google's Hyperdisk Balanced is cheaper by the GiB than the `pd-balanced` whose price a region has
(0.08 to 0.10 USD in us-central1), with the performance that is free (cloud.google.com/compute/
disks-image-pricing): it is billed here as the latter, which never says too little.
"""

from decimal import Decimal

# Azure bills a managed disk as the next larger of these, in GiB (learn.microsoft.com, "Understand
# Azure Disk Storage billing"): P4, P6, P10 … P80. E4 … E80 have the same sizes.
_AZURE_TIERS_GIB = (32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32767)
# A region's price is that of a P10, by the GiB. Smaller tiers cost more by the GiB: P4 5.28, P6
# 10.21, P10 19.71 USD a month in East US. Larger ones cost less (P30 135.17), and are not reckoned
# so: never too little, and no table of prices by region and tier.
_BESIDE_P10 = {32: Decimal(15) / 14, 64: Decimal(29) / 28}


def azure_billed_gb(disk_gb: int) -> Decimal:
    """The GB that a disk of Azure is billed as, at the region's price."""
    tier = next((size for size in _AZURE_TIERS_GIB if size >= disk_gb), disk_gb)
    return tier * _BESIDE_P10.get(tier, Decimal(1)) if disk_gb else Decimal(0)
