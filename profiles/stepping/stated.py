"""Whether the steps that a user states can be those that are counted: epochs are no batches."""

# A job makes some more or fewer steps than was said; those of another unit are off by far more.
SLACK = 1.1
FAR = 2.0
# What the job itself tells may be the total of its first epoch; hooks know whether a bar returns.
TOLD_BY_THE_JOB = ("regex", "marker", "file")


def disagreement(
    stated: int, done: int, told: int | None, counted_by: str | None, *, ended: bool = False
) -> str | None:
    """Why `stated` steps cannot be in the unit that `counted_by` counts, of which it has `done`,
    and tells of `told` in all; None where they may be. `ended`: the job made all its steps.
    """
    who = counted_by or "the job"
    if done > SLACK * stated + 1 or (ended and FAR * done <= stated):
        seen = f"{who} has counted {done:,}"
    elif told is not None and _apart(stated, told, who):
        seen = f"{who} tells of {told:,}"
    else:
        return None
    return f"the job is said to have {stated:,} steps, and {seen}: state `work:` in what is counted"


def _apart(stated: int, told: int, who: str) -> bool:
    if told >= FAR * stated:
        return True
    return FAR * told <= stated and who.partition("@")[0] not in TOLD_BY_THE_JOB
