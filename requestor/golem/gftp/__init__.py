"""Transfers files over the service bus by Golem's file transfer protocol, GFTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nima.lazy import attach

if TYPE_CHECKING:
    from requestor.golem.gftp import client as client
    from requestor.golem.gftp.messages import TOO_LARGE
    from requestor.golem.gftp.program import gftp_on_path, our_gftp_on_path
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "client": [],
            "messages": ["TOO_LARGE"],
            "program": ["gftp_on_path", "our_gftp_on_path"],
        },
    )

__all__ = ["TOO_LARGE", "client", "gftp_on_path", "our_gftp_on_path"]
