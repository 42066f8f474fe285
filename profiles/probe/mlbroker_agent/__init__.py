"""The agent beside the job: starts it, follows its steps, measures it, and ends all of it.

Runs in any Python 3.8+ on the machine where the job runs, standard library only:
`cd profiles/probe && python3 -m mlbroker_agent`, with one line of JSON on its input that says
what to run. It reports in lines of JSON on its output. When its input ends, the job ends.
"""
