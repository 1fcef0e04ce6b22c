"""What we use of yapapi although it is private there: everything that another release may change without a word.

yapapi has no public way to pay from an allocation that is there already, to ask before an activity is created, and to
say under which agreement a worker works. `tests/requestor/backends/test_yapapi_private.py` holds each of these against
the installed release.
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
    """Makes `golem`, which is not started yet, pay from an allocation of ours instead of making its own.

    Args:
        amount: GLM of the allocation.
        platform: payment platform, such as `erc20-hoodi-tglm`.
        address: of the wallet that pays, 0x and 40 hex digits.
    """
    from yapapi.rest.payment import Allocation

    golem._engine._budget_allocations.append(
        Allocation(
            _api=cast(Any, None),  # only asked for its details and to delete it, which yapapi does with its own alone
            id=allocation_id,
            amount=amount,
            payment_platform=platform,
            payment_address=address,
            expires=None,
        )
    )


def create_activities_with(golem: Golem, create: Callable[[Agreement, CreateActivity], Awaitable[Activity]]) -> None:
    """Makes `golem` await `create(agreement, original)` for every activity; `original()` is yapapi's own way."""
    engine = cast(Any, golem._engine)
    original = engine.create_activity

    async def create_activity(agreement_id: str) -> Activity:
        return await create(engine._get_agreement_by_id(agreement_id), lambda: original(agreement_id))

    engine.create_activity = create_activity


def agreement_of(context: WorkContext) -> Agreement:
    """Returns the agreement under which the activity of `context` runs."""
    agreement: Agreement = context._agreement
    return agreement
