"""Chooses at random what is computed again. Nobody can foresee it: the choice does not depend on the run's seed.

The choice is made after the answer is there. If a share f of n photos is false and m of them are computed again, the
lie is found with a probability of at least 1 − (1 − f)^m. If k of the ten segments of a training are false and one is
computed again, it is found with a probability of k / 10. docs/threat-model.md has a table.
"""

from __future__ import annotations

import math
import secrets

AUDIT_SHARE = 0.1  # share of the work of providers that is computed again, unless --audit says otherwise
AT_LEAST = 3  # least number of photos of a task: who invents half of a small shard is found out in 7 of 8 cases

_random = secrets.SystemRandom()


def chosen_rows(count: int, share: float) -> list[int]:
    """Returns the photos of a task that are computed again, as sorted indices below `count`.

    Args:
        count: number of photos of the task.
        share: share of them, 0 to 1; 0 for none, and else at least `AT_LEAST` are chosen if there are so many.
    """
    if share == 0:
        return []
    return sorted(_random.sample(range(count), min(count, max(AT_LEAST, math.ceil(share * count)))))


def chosen_segments(segments: int, share: float) -> list[int]:
    """Returns the segments of a training that are computed again, as sorted indices below `segments`.

    Their number is `share * segments` on average: a part of one is one with this probability.
    """
    wanted = share * segments
    count = int(wanted) + (_random.random() < wanted - int(wanted))
    return sorted(_random.sample(range(segments), min(segments, count)))
