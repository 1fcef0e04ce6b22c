"""Sets the amount of work in a round's task, so that a slow provider ends it in time, and the time limits of tasks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from nima.wire import TrainingPlan
from requestor.planning.speeds import JOB_CORE_SECONDS, SLOW_CORES, USUAL_THREADS, speed_of, training_core_seconds

# Core seconds of a round's task, at most: a usual provider works for a minute, and a slow one for ten.
ROUND_CORE_SECONDS = 300.0
LEAST_EPOCHS = 4  # with fewer, a provider would spend most of its time on the frozen blocks
RESERVE = 1.5  # factor of time limits over the time that a slow provider needs
SHORTEST_LIMIT = 600.0  # no program gets less time, because a busy machine may be slow to start it, in seconds
SHORTEST_USUAL = 60.0  # the same for the time in which a usual provider ends
LEAST_RETURN = 1e6 / 8  # bytes a second that a provider sends back at least
USUAL_RETURN = 10e6 / 8  # bytes a second that a usual provider sends back


@dataclass(frozen=True)
class TaskTime:
    """Holds the time that a task's program may take, in seconds, its start and the transfer of its result included.

    limit: the time limit, in which a slow provider ends.
    usual: the time in which a usual provider ends.
    """

    limit: float
    usual: float

    @staticmethod
    def of(core_seconds: float, result: int) -> TaskTime:
        """Returns the time for a task.

        Args:
            core_seconds: seconds that one core needs for the task, without the start of the program.
            result: bytes of the result.
        """
        needed = JOB_CORE_SECONDS + core_seconds
        return TaskTime(
            max(SHORTEST_LIMIT, RESERVE * (needed / SLOW_CORES + result / LEAST_RETURN)),
            max(SHORTEST_USUAL, RESERVE * (JOB_CORE_SECONDS + core_seconds / USUAL_THREADS + result / USUAL_RETURN)),
        )


def forward_core_seconds(backbone: str, photos: int) -> float:
    """Returns the seconds that one core needs to compute features or predictions of so many photos."""
    return photos / speed_of(backbone).frozen


def shards_within(images: Sequence[int], photos: int) -> int:
    """Returns how many shards a round takes if it can take so many photos: at least one, whichever they are.

    Args:
        images: number of photos in each shard of a client.
        photos: the most photos that the round can take.
    """
    return max(1, sum(total <= photos for total in accumulate(sorted(images, reverse=True))))


@dataclass(frozen=True)
class RoundWork:
    """One client's work in a round.

    photos: number of photos, which may be rounded to whole shards.
    plan: the plan of the training, which has the number of steps.
    """

    photos: int
    plan: TrainingPlan

    @staticmethod
    def within_limits(plan: TrainingPlan, backbone: str, images: int, smallest: int, share: float = 1.0) -> RoundWork:
        """Returns as much of a plan as a slow provider does in a round; the next rounds take other photos.

        First it leaves out epochs, down to `LEAST_EPOCHS`, and then photos.

        Args:
            plan: the plan for all photos of the client.
            backbone: name of the backbone.
            images: number of photos of the client.
            smallest: least number of photos that can be taken: those of a shard.
            share: share of the work that the provider is given, 0 to 1, because it is slower than others.
        """
        speed, most = speed_of(backbone), share * ROUND_CORE_SECONDS
        plan = replace(plan, steps=max(1, math.floor(share * plan.steps)))

        def cost(photos: int, samples: int) -> float:
            return training_core_seconds(speed, photos, samples, plan.trainable_blocks, plan.augment)

        once, each = cost(1, 0), cost(0, 1)  # core seconds for a photo, and for a sample
        epochs = min(LEAST_EPOCHS, max(1, math.ceil(plan.steps * plan.batch_size / images))) if once else 1
        photos = min(images, max(smallest if once else 1, math.floor(most / (once + epochs * each))))
        # At least one epoch where the frozen blocks alone take the time: it costs no more than they do.
        least = math.ceil(photos / plan.batch_size) if once else 1
        steps = min(plan.steps, max(least, math.floor((most - once * photos) / each / plan.batch_size)))
        return RoundWork(min(photos, steps * plan.batch_size), replace(plan, steps=steps))

    def core_seconds(self, backbone: str, photos: int) -> float:
        """Returns the seconds that one core needs for the work, if it has so many photos after rounding."""
        plan = self.plan
        samples = plan.steps * min(plan.batch_size, photos)
        return training_core_seconds(speed_of(backbone), photos, samples, plan.trainable_blocks, plan.augment)
