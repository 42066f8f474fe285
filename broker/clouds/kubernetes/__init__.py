"""Kubernetes: Jobs of batch/v1 in the user's own cluster, through its REST API."""
