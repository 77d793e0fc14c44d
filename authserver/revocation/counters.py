"""How counters go on after the database was restored from a backup."""

from sqlalchemy import ColumnElement, case
from sqlalchemy import bindparam as bind

# More than a counter can have been raised by since the backup, should the clock be wrong.
_STEP = 2**20


def beyond_what_was_lost(counter: ColumnElement[int]) -> ColumnElement[int]:
    """Return a value that a counter had neither when the backup was made nor at any time since.

    It is the time in microseconds (the parameter `now_us`), for a step from what the backup has would be the same step
    each time that this backup is restored. Counters are raised one by one, so they never catch up with the time.
    """
    return case((counter + _STEP > bind("now_us"), counter + _STEP), else_=bind("now_us"))
