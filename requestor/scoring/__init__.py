"""Does the work of `nima-golem score`: finds photos, selects and shows scores, and acts on the photos."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nima.lazy import attach

if TYPE_CHECKING:
    from requestor.scoring.actions import PhotoActions
    from requestor.scoring.files import listed_paths, photo_files
    from requestor.scoring.formats import as_csv, as_json, as_json_lines
    from requestor.scoring.selection import Selection
    from requestor.scoring.sheet import check_replaceable, contact_sheet
    from requestor.scoring.table import as_table
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "actions": ["PhotoActions"],
            "files": ["listed_paths", "photo_files"],
            "formats": ["as_csv", "as_json", "as_json_lines"],
            "selection": ["Selection"],
            "sheet": ["check_replaceable", "contact_sheet"],
            "table": ["as_table"],
        },
    )

__all__ = [
    "PhotoActions",
    "Selection",
    "as_csv",
    "as_json",
    "as_json_lines",
    "as_table",
    "check_replaceable",
    "contact_sheet",
    "listed_paths",
    "photo_files",
]
