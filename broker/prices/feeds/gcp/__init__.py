"""GCP: the billing catalogue's parts added up to machines, machine types and quotas."""
