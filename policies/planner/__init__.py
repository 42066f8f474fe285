"""From jobs and a price book to decisions: `Planner(book, now)`, for one job or for many.

`planner` is the door, `plan` the values that go in and come out, `book` what is read of prices;
`field` gathers what is in the running, `decision` chooses, `near_misses` tells what would do;
`many` does the same for thousands of jobs, on a `cached_book`, with `bounds`.
"""
