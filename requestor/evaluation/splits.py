"""Chooses the test photos of an AVA folder."""

from __future__ import annotations

from pathlib import Path

from nima.ava import Split, random_split, read_ratings, read_split

TEST_SHARE = 0.1  # share of the photos that is tested on if there is no list of test ids


def listed_split(ava: Path, chosen: Path | None) -> Split | None:
    """Reads the list of test ids.

    Args:
        ava: the AVA folder.
        chosen: a file of ids; None for the folder's own `splits/test.txt`.

    Returns:
        The split; None if no file was chosen and the folder has no list of its own.

    Raises SplitError if a list is malformed, or if the chosen one is missing.
    """
    if chosen is not None:
        return read_split(chosen)
    usual = ava / "splits" / "test.txt"
    return read_split(usual) if usual.is_file() else None


def chosen_test_split(ava: Path, chosen: Path | None, seed: int) -> Split:
    """Returns the photos on which a run is tested: those of a list if there is one, else a random `TEST_SHARE` of all.

    Args:
        ava, chosen: as for `listed_split`.
        seed: seed of the random choice.

    Raises SplitError as `listed_split` does, and the errors of `read_ratings`.
    """
    listed = listed_split(ava, chosen)
    return random_split(read_ratings(ava).image_ids, seed, TEST_SHARE) if listed is None else listed
