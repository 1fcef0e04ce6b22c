"""Wraps the private names of yapapi that this program uses: another release may change them without notice.

yapapi has no public way to pay from an allocation that exists already, to be asked before an activity is created, to
find the agreement under which a worker works, to send a failed request again, or to keep a job whose demand failed or
grew old. `tests/requestor/backends/market/test_yapapi_private.py` checks each of these names against the installed
release.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from requestor.golem import Absence, Trouble, property_names, repeat_request

if TYPE_CHECKING:
    from yapapi import Golem, WorkContext
    from yapapi.rest.activity import Activity
    from yapapi.rest.market import Agreement, Subscription

CreateActivity = Callable[[], Awaitable["Activity"]]
POLL_SECONDS = 90.0  # time limit of a request for events; yagna answers after some time even if there are none
REQUEST_SECONDS = 20.0  # time limit of another request that reads; yapapi would wait for five minutes
ACTION_SECONDS = 75.0  # time limit of one that acts: yagna may have to wait for the provider


def pay_from(
    golem: Golem, *, allocation_id: str, amount: Decimal, platform: str, address: str
) -> Callable[[str], None]:
    """Makes `golem` pay from an allocation that exists already, so that it does not make its own.

    Args:
        golem: yapapi's Golem, which is not started yet.
        allocation_id: id of the allocation.
        amount: GLM in the allocation.
        platform: payment platform, such as `erc20-hoodi-tglm`.
        address: address of the wallet that pays, 0x and 40 hex digits.

    Returns:
        A function that takes the id of another allocation, from which `golem` pays from then on.
    """
    from yapapi.rest.payment import Allocation

    allocation = Allocation(
        _api=cast(Any, None),  # yapapi uses it only for allocations that it made, for details and to delete them
        id=allocation_id,
        amount=amount,
        payment_platform=platform,
        payment_address=address,
        expires=None,
    )
    golem._engine._budget_allocations.append(allocation)
    return lambda other: setattr(allocation, "id", other)


def create_activities_with(golem: Golem, create: Callable[[Agreement, CreateActivity], Awaitable[Activity]]) -> None:
    """Makes `golem` create every activity by `await create(agreement, original)`.

    `await original()` creates the activity in yapapi's own way.
    """
    engine = cast(Any, golem._engine)
    original = engine.create_activity

    async def create_activity(agreement_id: str) -> Activity:
        return await create(engine._get_agreement_by_id(agreement_id), lambda: original(agreement_id))

    engine.create_activity = create_activity


def send_patiently(golem: Golem, trouble_of: Callable[[Exception], Trouble | None]) -> None:
    """Makes `golem` limit the time of every request, and send failed requests again as `repeat_request` does.

    yapapi itself waits five minutes for an answer, repeats few requests, and gives up a job after one that failed.

    Args:
        golem: yapapi's Golem, which is not started yet.
        trouble_of: returns the trouble that an exception of yapapi's REST clients means; None if it is final.
    """
    configuration, absence = cast(Any, golem._engine)._api_config, Absence()
    for name in ("market", "payment", "activity"):
        make = getattr(configuration, name)
        setattr(configuration, name, partial(_patient_client, make, trouble_of, absence))


def _patient_client(
    make: Callable[[], Any], trouble_of: Callable[[Exception], Trouble | None], absence: Absence
) -> Any:
    client = make()
    send = client.rest_client.request

    async def request(method: str, url: str, **options: Any) -> Any:
        path = urlsplit(url).path
        options["_request_timeout"] = options.get("_request_timeout") or _time_limit(method, path)
        return await repeat_request(method, path, lambda: send(method, url, **options), trouble_of, absence=absence)

    client.rest_client.request = request
    return client


def _time_limit(method: str, path: str) -> float:
    if path.endswith("Events"):
        return POLL_SECONDS
    return ACTION_SECONDS if method == "POST" else REQUEST_SECONDS


def start_gftp_apart() -> None:
    """Makes yapapi start `gftp server` in a session of its own: Ctrl-C in the terminal must not end it.

    yapapi starts it by a shell in the terminal's process group, while providers still fetch files from it.
    """
    from yapapi.storage import gftp

    process: Any = vars(gftp)["__Process"]

    class ProcessApart(process):  # type: ignore[misc]
        async def __aenter__(self) -> Any:
            pipe = asyncio.subprocess.PIPE
            self._proc = await asyncio.create_subprocess_exec(
                "gftp", "server", stdin=pipe, stdout=pipe, start_new_session=True
            )
            return self

    gftp.service = lambda debug=False: ProcessApart(debug)


def watch_jobs(golem: Golem, on_job: Callable[[Any], None], on_failure: Callable[[Exception], Awaitable[None]]) -> None:
    """Makes every job of `golem` go on asking the market after a failure, instead of ending with all its workers.

    Args:
        golem: yapapi's Golem.
        on_job: is called with each new job, before it publishes its demand.
        on_failure: is awaited with the reason before the demand is published again; if it raises, the job ends.
    """
    engine = cast(Any, golem._engine)
    original = engine.add_job

    def add_job(job: Any) -> None:
        find_offers = job.find_offers

        async def keep_finding() -> None:
            while True:
                try:
                    await find_offers()
                except Exception as error:
                    await on_failure(error)

        job.find_offers = keep_finding
        on_job(job)
        original(job)

    engine.add_job = add_job


def extend_job(job: Any, expiration: datetime) -> None:
    """Lets a job run until `expiration`, and its next demand, too; forgets the offers for the present demand."""
    job.expiration_time = expiration
    if job._demand_builder is not None:
        job._demand_builder.properties[property_names.EXPIRATION] = int(expiration.timestamp() * 1000)
    job.agreements_pool._offer_buffer.clear()


def close_subscription(subscription: Subscription) -> None:
    """Makes the job of a subscription take its demand off the market, and publish the next one."""
    cast(Any, subscription).close()


def reason_of(job: Any) -> BaseException | None:
    """Returns the exception that has ended a job; None if there was none."""
    return None if job._exc_info is None else cast(BaseException, job._exc_info[1])


def agreement_of(context: WorkContext) -> Agreement:
    """Returns the agreement under which the activity of `context` runs."""
    agreement: Agreement = context._agreement
    return agreement
