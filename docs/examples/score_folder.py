"""Prints the ten best photos of a folder: python score_folder.py FOLDER [MODEL]."""

import sys
from pathlib import Path

from nima import Scorer

folder, *model = sys.argv[1:]
photos = sorted(path for path in Path(folder).iterdir() if path.suffix.lower() in (".jpg", ".jpeg", ".png", ".heic"))
scores = list(Scorer(*model).score(photos))
for score in sorted((one for one in scores if one.error is None), key=lambda one: -one.aesthetic_score)[:10]:
    print(f"{score.aesthetic_score:.2f}  above {score.percentile:.0f}% of {score.population}  {score.path}")
for score in scores:
    if score.error is not None:
        print(score.error, file=sys.stderr)
