"""Chooses the test photos of an AVA folder."""

from __future__ import annotations

from pathlib import Path

from nima.ava import Split, random_split, read_ratings, read_split

TEST_SHARE = 0.1  # of the photos, where there is no list of test ids


def listed_split(ava: Path, chosen: Path | None) -> Split | None:
    """Reads the list of test ids.

    Args:
        ava: the AVA folder.
        chosen: a file of ids; if it is None, the folder's own `splits/test.txt` is read.

    Returns:
        The split; None if no file was chosen and the folder has no list of its own.

    Raises SplitError for a list that is missing or malformed.
    """
    if chosen is not None:
        return read_split(chosen)
    usual = ava / "splits" / "test.txt"
    return read_split(usual) if usual.is_file() else None


def chosen_test_split(ava: Path, chosen: Path | None, seed: int) -> Split:
    """Returns the photos that a run is tested on: those that are listed, else a random `TEST_SHARE` of all.

    The arguments are those of `listed_split`, and the seed of the random choice. Raises SplitError for a list that is
    missing or malformed, and what `read_ratings` raises.
    """
    listed = listed_split(ava, chosen)
    return random_split(read_ratings(ava).image_ids, seed, TEST_SHARE) if listed is None else listed
