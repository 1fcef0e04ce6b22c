"""Keeps a demand on the market for as long as a job of yapapi runs.

An agreement ends when the demand does under which it was made. So the demand is published again, with a later end, long
before it ends. Agreements that exist already keep their own end.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from yapapi import Golem, events
from yapapi.payload import Payload
from yapapi.props.builder import DemandBuilder
from yapapi.rest.market import Agreement, Subscription

from requestor.backends.market.failures import in_words, trouble_of
from requestor.backends.market.yapapi_private import close_subscription, extend_job, reason_of, watch_jobs
from requestor.golem import PATIENCE, REQUEST_ATTEMPTS, Trouble, growing_pauses, property_names

logger = logging.getLogger(__name__)


class MarketDemand:
    """The demand of the one job that a `Golem` runs.

    Args:
        golem: yapapi's Golem, before it runs a job.
        lifetime: time from the publication of the demand to the end of agreements that are made under it.
    """

    def __init__(self, golem: Golem, lifetime: timedelta) -> None:
        self._lifetime = lifetime
        self._job: Any = None
        self._subscription: Subscription | None = None
        self._published = time.monotonic()
        self._failing_since: float | None = None
        self._failures = 0  # since the demand was published last
        self._first_failure: Exception | None = None
        self._pauses = growing_pauses(1.0, 2.0, 10.0)
        watch_jobs(golem, self._begin, self._after_failure)

    @property
    def age(self) -> float:
        """Returns the seconds since the demand was published, or was last asked to be."""
        return time.monotonic() - self._published

    @property
    def failure(self) -> str | None:
        """Returns the reason why the job has ended, in words: the first one; None if it did not fail."""
        error = self._first_failure or (None if self._job is None else reason_of(self._job))
        return None if error is None or isinstance(error, asyncio.CancelledError) else in_words(error)

    def renew(self) -> None:
        """Has the demand published again, with a later end; all offers for it come again, too."""
        self._published = time.monotonic()
        if self._job is not None and self._subscription is not None:
            extend_job(self._job, datetime.fromtimestamp(time.time(), timezone.utc) + self._lifetime)
            close_subscription(self._subscription)

    def on_event(self, event: events.Event) -> None:
        """Takes note of an event of yapapi."""
        if isinstance(event, events.SubscriptionCreated):
            self._subscription = event.subscription
            self._published = time.monotonic()
            self._failing_since = self._first_failure = None
            self._failures = 0
            self._pauses = growing_pauses(1.0, 2.0, 10.0)

    def _begin(self, job: Any) -> None:
        self._job = job

    async def _after_failure(self, error: Exception) -> None:
        """Waits before the demand is published again. Raises the first failure if it has failed for too long.

        A daemon that hangs takes much time for one failure: it is absent if it has failed several times.
        """
        now = time.monotonic()
        self._failures += 1
        if self._failing_since is None:
            self._failing_since, self._first_failure = now, error
        logger.warning("the market could not be asked: %s", in_words(error))
        absent = trouble_of(error) is Trouble.UNTOUCHED
        if (absent or self._failures >= REQUEST_ATTEMPTS) and now - self._failing_since > PATIENCE:
            raise self._first_failure or error
        await asyncio.sleep(next(self._pauses))


@dataclass
class ProviderImage(Payload):
    """Demands the provider image. yapapi's own `vm.repo` would ask a server for the image at every start.

    image: the task package, `hash:sha3:<hash>:<url>`.
    constraints: the constraints on offers, in Golem's syntax.
    mark: marks the demands of this run, so that one that a failure left behind is found.
    """

    image: str
    constraints: tuple[str, ...]
    mark: str

    async def decorate_demand(self, demand: DemandBuilder) -> None:
        demand.properties[property_names.TASK_PACKAGE] = self.image
        demand.properties[property_names.PACKAGE_FORMAT] = "gvmkit-squash"
        demand.properties[property_names.RUN_MARK] = self.mark
        for constraint in self.constraints:
            demand.ensure(constraint)


def agreement_end(agreement: Agreement) -> float:
    """Returns the Unix time in seconds at which an agreement ends by itself."""
    return float(agreement.details.requestor_view.properties[property_names.EXPIRATION]) / 1000
