"""A cluster that Slurm schedules: its own client's commands, jobs found by their name."""
