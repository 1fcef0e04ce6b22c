"""Transfers files over the service bus by Golem's file transfer protocol, GFTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nima.lazy import attach

if TYPE_CHECKING:
    from requestor.golem.gftp.client import download_over_gftp, upload_over_gftp
    from requestor.golem.gftp.messages import FILE_TOO_LARGE, folder_for_files_of
    from requestor.golem.gftp.program import gftp_on_path, our_gftp_on_path
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "client": ["download_over_gftp", "upload_over_gftp"],
            "messages": ["FILE_TOO_LARGE", "folder_for_files_of"],
            "program": ["gftp_on_path", "our_gftp_on_path"],
        },
    )

__all__ = [
    "FILE_TOO_LARGE",
    "download_over_gftp",
    "folder_for_files_of",
    "gftp_on_path",
    "our_gftp_on_path",
    "upload_over_gftp",
]
