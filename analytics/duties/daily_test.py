"""Sessions of a pool, before each of which its water is tested (DESIGN 12.4). Pure."""

import numpy as np

from analytics.spans import Spans, without


def sessions(opening: Spans, closed: Spans, *, before_session_ms: int) -> Spans:
    """Intervals before each of which a test is due.

    A session is one opening interval of the hours, on whatever local day it ends and however the clocks change. A
    closure by entry within a session that lasts no longer than `before_session_ms` interrupts it: a test made before
    the closure is then still one of the time before the reopening. After a longer one the reopening begins a session
    of its own; and what is closed over a session's first instant puts its beginning off.

    Parameters
    ----------
    opening, closed : Spans
        Opening hours as registered, and closures by entry, each merged. [ms]
    before_session_ms : int
        How old the test of a session may be when it begins. [ms]

    Returns
    -------
    sessions : Spans
        Sorted and disjoint.
    """
    if not len(closed) or not len(opening):
        return opening
    holder = np.searchsorted(opening[:, 0], closed[:, 0], side="left") - 1
    within = (holder >= 0) & (closed[:, 1] < opening[np.maximum(holder, 0), 1])
    interrupts = within & (closed[:, 1] - closed[:, 0] <= before_session_ms)
    return without(opening, closed[~interrupts])
