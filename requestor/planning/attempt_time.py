"""Sets the time limits of the parts of one attempt at a task."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from requestor.planning.uplink import USUAL_UPLINK, upload_seconds

START_SECONDS = 300.0  # most time in which a provider downloads the image and starts its VM
USUAL_START_SECONDS = 60.0  # the time that this takes at a usual provider, at most


@dataclass(frozen=True)
class AttemptTime:
    """Holds the time limits of the parts of an attempt, in seconds.

    start: to download the image and to start the VM; 0 if it runs already.
    sending: to send the files that the provider does not have, from the moment at which it is its turn.
    working: to run the program and to fetch its results.
    """

    start: float
    sending: float
    working: float

    @property
    def whole(self) -> float:
        """Returns the sum of the three."""
        return self.start + self.sending + self.working


def attempt_times(deployed: bool, size: int, seconds: float, usual_seconds: float) -> Iterator[AttemptTime]:
    """Yields the time limits that an attempt may have: the longest first, then shorter ones.

    In the longest, a slow provider behind a slow uplink ends, too; in the shortest, a usual one behind a usual uplink.

    Args:
        deployed: True if the image runs already.
        size: bytes of the files that must be sent.
        seconds, usual_seconds: time for the program at a slow provider, and at a usual one.
    """
    start, usual_start = (0.0, 0.0) if deployed else (START_SECONDS, USUAL_START_SECONDS)
    sending, usual_sending = upload_seconds(size), upload_seconds(size, USUAL_UPLINK)
    shortest = AttemptTime(usual_start, usual_sending, min(seconds, usual_seconds))
    share, limits = 1.0, AttemptTime(start, sending, seconds)
    yield limits
    while limits != shortest:
        share /= 2
        limits = AttemptTime(
            max(shortest.start, share * start),
            max(shortest.sending, share * sending),
            max(shortest.working, share * seconds),
        )
        yield limits
