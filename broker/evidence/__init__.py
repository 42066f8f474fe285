"""What is known of jobs: the measurements that profiles and runs left, and what they rest on.

store, columns    the measurements of one user, and their fields
facts             what of a job its step time rests on, so that a change is noticed
"""
