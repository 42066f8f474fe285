"""What to choose, and what is allowed.

constraints, candidates, pace    what is asked, what fits, how fast it is there
outcome, interruptions           how long a run takes, as a distribution
choose, objective, baseline      the best of them, and what it is compared with
quote, quoting, region_costs     what a run costs on one machine, to the micro-dollar
guardrails/, planner/            what the user's policy forbids; the way from a job to a plan
"""
