"""Runs an activity's commands as Golem's exe-unit does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nima.lazy import attach

if TYPE_CHECKING:
    from requestor.devnet.exe_unit.exe_unit import ExeUnit
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "exe_unit": ["ExeUnit"],
        },
    )

__all__ = ["ExeUnit"]
