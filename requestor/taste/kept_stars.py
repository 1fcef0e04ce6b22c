"""Keeps the stars that were given on contact sheets, in the user's data folder, by the content of the photos."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nima.safe_io import (
    FileError,
    FormatError,
    data_folder,
    one_line,
    parse_json_object,
    read_bounded,
    require,
    sha256_of,
    write_atomically,
)
from nima.scoring import ScoreCache
from requestor.errors import ConfigurationError
from requestor.taste.stars import MOST_STARS, REJECTED, UNRATED

_FORMAT = "nima-golem stars 1"
_MAX_BYTES = 256 * 1024 * 1024


@dataclass
class KeptStars:
    """The stars that are kept, in `stars.json` of the data folder.

    stars: the SHA-256 of a photo's file → −1 (rejected) or 1 to 5.
    cache: knows the hashes of files that have not changed; None for no cache.
    """

    stars: dict[str, int] = field(default_factory=dict)
    cache: ScoreCache | None = None

    @classmethod
    def load(cls, cache: ScoreCache | None) -> KeptStars:
        """Reads the stars that are kept. Raises `ConfigurationError` if the file cannot be read or is damaged."""
        path = stars_path()
        if not path.exists():
            return cls(cache=cache)
        try:
            return cls(_checked(parse_json_object(read_bounded(path, _MAX_BYTES).decode())), cache)
        except (FileError, FormatError, ValueError, RecursionError) as error:
            raise ConfigurationError(
                f"{path} holds the stars of contact sheets, and cannot be used ({one_line(str(error))}). Mend it, or "
                "move it away and read the lists of the sheets again."
            ) from error

    def of(self, photo: Path) -> int:
        """Returns the kept rating of a photo; 0 if there is none, or if the photo cannot be read."""
        if not self.stars:
            return UNRATED
        return self.stars.get(self._sha256(photo) or "", UNRATED)

    def keep(self, ratings: dict[Path, int]) -> None:
        """Writes ratings, −1 to 5, beside those that are kept; 0 removes one.

        Raises `ConfigurationError` if a photo cannot be read, or the file cannot be written.
        """
        for photo, rating in ratings.items():
            sha256 = self._sha256(photo)
            if sha256 is None:
                raise ConfigurationError(f"{one_line(str(photo))} cannot be read, so no stars were kept.")
            self.stars.pop(sha256, None)
            if rating != UNRATED:
                self.stars[sha256] = rating
        path = stars_path()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, json.dumps({"format": _FORMAT, "stars": self.stars}, indent=1).encode())
        except OSError as error:
            raise ConfigurationError(
                f"{path} cannot be written ({error.strerror}); set XDG_DATA_HOME to a folder that can."
            ) from error

    def _sha256(self, photo: Path) -> str | None:
        known = self.cache.identify(photo) if self.cache is not None else None
        if known is not None:
            return known.sha256
        try:
            return sha256_of(photo)
        except FileError:
            return None


def stars_path() -> Path:
    """Returns the path of the file that keeps the stars, which need not exist."""
    return data_folder() / "stars.json"


def _checked(data: dict[str, Any]) -> dict[str, int]:
    require(data.get("format") == _FORMAT and data.keys() == {"format", "stars"}, f"its format is not {_FORMAT!r}")
    stars = data["stars"]
    require(isinstance(stars, dict), "stars must be an object")
    for rating in stars.values():
        known = type(rating) is int and REJECTED <= rating <= MOST_STARS
        require(known, f"a rating is not a whole number from {REJECTED} to {MOST_STARS}")
    return dict(stars)
