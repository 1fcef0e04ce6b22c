"""Does the work of `nima-golem score`: finds photos, selects and shows scores, and acts on the photos.

Example:
    >>> from requestor.scoring import ScoreRequest
    >>> request = ScoreRequest(photos=("holiday/",), recursive=True, format="csv", top=20)
    >>> request.selection
    Selection(order='input', top=20, min_score=None, best_of_group=False)

`run(request)` scores the photos and writes the rows to stdout.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nima.lazy import attach

if TYPE_CHECKING:
    from requestor.scoring.files import LeftOut, photo_files
    from requestor.scoring.marking import Marking
    from requestor.scoring.marks import Mark, read_marks
    from requestor.scoring.request import ScoreRequest, run
    from requestor.scoring.sheet import check_replaceable, contact_sheet
    from requestor.scoring.users_cache import default_cache
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "users_cache": ["default_cache"],
            "files": ["LeftOut", "photo_files"],
            "marking": ["Marking"],
            "marks": ["Mark", "read_marks"],
            "request": ["ScoreRequest", "run"],
            "sheet": ["check_replaceable", "contact_sheet"],
        },
    )

__all__ = [
    "LeftOut",
    "Mark",
    "Marking",
    "ScoreRequest",
    "check_replaceable",
    "contact_sheet",
    "default_cache",
    "photo_files",
    "read_marks",
    "run",
]
