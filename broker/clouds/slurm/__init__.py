"""A cluster under Slurm: its queue starts the job, mlbroker keeps cap, time limit and books."""
