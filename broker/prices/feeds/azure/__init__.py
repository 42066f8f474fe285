"""Azure: retail prices, machine sizes and quotas."""
