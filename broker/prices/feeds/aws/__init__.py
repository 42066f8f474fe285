"""AWS: the price list, spot prices, machine types and quotas."""
