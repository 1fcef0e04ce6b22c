"""Makes the devnet's providers misbehave, one kind of fault a class."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nima.lazy import attach

if TYPE_CHECKING:
    from requestor.devnet.faults.fault import Fault
    from requestor.devnet.faults.kinds import make_fault, parse_faults
    from requestor.devnet.faults.work import ProgramRun
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "fault": ["Fault"],
            "kinds": ["make_fault", "parse_faults"],
            "work": ["ProgramRun"],
        },
    )

__all__ = ["Fault", "ProgramRun", "make_fault", "parse_faults"]
