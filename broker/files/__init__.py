"""The files a user writes (job, policy, nodes), read strictly: each error names line and key."""
