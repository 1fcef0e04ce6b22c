"""Wraps the private names of yapapi that this program uses: another release may change them without notice.

yapapi has no public way to pay from an allocation that exists already, to be asked before an activity is created, or to
find the agreement under which a worker works. `tests/requestor/backends/test_yapapi_private.py` checks each of these
names against the installed release.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from yapapi import Golem, WorkContext
    from yapapi.rest.activity import Activity
    from yapapi.rest.market import Agreement

CreateActivity = Callable[[], Awaitable["Activity"]]


def pay_from(golem: Golem, *, allocation_id: str, amount: Decimal, platform: str, address: str) -> None:
    """Makes `golem` pay from an allocation that exists already, so that it does not make its own.

    Args:
        golem: yapapi's Golem, which is not started yet.
        allocation_id: id of the allocation.
        amount: GLM in the allocation.
        platform: payment platform, such as `erc20-hoodi-tglm`.
        address: address of the wallet that pays, 0x and 40 hex digits.
    """
    from yapapi.rest.payment import Allocation

    golem._engine._budget_allocations.append(
        Allocation(
            _api=cast(Any, None),  # yapapi uses it only for allocations that it made, for details and to delete them
            id=allocation_id,
            amount=amount,
            payment_platform=platform,
            payment_address=address,
            expires=None,
        )
    )


def create_activities_with(golem: Golem, create: Callable[[Agreement, CreateActivity], Awaitable[Activity]]) -> None:
    """Makes `golem` create every activity by `await create(agreement, original)`.

    `await original()` creates the activity in yapapi's own way.
    """
    engine = cast(Any, golem._engine)
    original = engine.create_activity

    async def create_activity(agreement_id: str) -> Activity:
        return await create(engine._get_agreement_by_id(agreement_id), lambda: original(agreement_id))

    engine.create_activity = create_activity


def agreement_of(context: WorkContext) -> Agreement:
    """Returns the agreement under which the activity of `context` runs."""
    agreement: Agreement = context._agreement
    return agreement
