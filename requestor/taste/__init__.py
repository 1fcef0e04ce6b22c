"""Does the work of `nima-golem taste`: learns a person's taste from the stars of photos, on this machine.

Example:
    >>> from pathlib import Path
    >>> from requestor.taste import TasteRequest
    >>> TasteRequest(Path("holiday")).start is None  # the default model
    True

`run(request)` reads the stars, trains a head on the features of the photos, and writes the model `taste`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nima.lazy import attach

if TYPE_CHECKING:
    from requestor.taste.learning import Learnt, RatedFeatures, learn, tilted
    from requestor.taste.proposal import propose
    from requestor.taste.request import TasteRequest, run
    from requestor.taste.stars import owners_mean
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "learning": ["Learnt", "RatedFeatures", "learn", "tilted"],
            "proposal": ["propose"],
            "request": ["TasteRequest", "run"],
            "stars": ["owners_mean"],
        },
    )

__all__ = ["Learnt", "RatedFeatures", "TasteRequest", "learn", "owners_mean", "propose", "run", "tilted"]
