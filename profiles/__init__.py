"""How fast a job runs: what is asked, what was measured, and what follows for other machines.

job, measurement, prediction    what goes in and what comes out
estimators/, transfer/          from measurements, past jobs and data sheets to step times
stepping/, scaling              from a stream of steps to the time of the whole job
value_of_information            whether and where to measure once more
probe/                          what runs inside or beside the user's job, by path
"""
