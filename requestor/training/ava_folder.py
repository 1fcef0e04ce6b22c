"""Finds the AVA data set that a run trains on, and says how to get one where there is none."""

from __future__ import annotations

from pathlib import Path

from nima.ava import data_folder_of
from requestor.errors import ConfigurationError

WAYS_TO_DATA = """\
  - `nima-golem ava tiny ava` draws a small data set (600 images in half a minute) and rates it, to try things out.
  - `nima-golem ava import` makes one of your own rated photos, or of KonIQ-10k, SPAQ, AADB, EVA, PARA or TAD66K.
  - AVA itself: put its list of ratings, AVA.txt (index, image id, ten vote counts, two tags, challenge), and its
    photos, images/<image id>.jpg, at most 800 pixels on the long side, into one folder. Links to photos will do.
    The list is at github.com/imfing/ava_downloader, which also says where its 255,530 photos (32 GB) can be had."""


def choose_ava_folder(named: Path | None) -> Path:
    """Returns the folder of the data set: the one that is named (or whose AVA.txt is), else ./ava, else this folder.

    Raises ConfigurationError, which names the ways to get data, if there is no AVA.txt.
    """
    if named is not None:
        folder = data_folder_of(named)
        if (folder / "AVA.txt").is_file():
            return folder
        raise ConfigurationError(
            f"--ava {named} is no AVA data set: {folder / 'AVA.txt'} does not exist. Name another folder, or make one:"
            f"\n{WAYS_TO_DATA}"
        )
    for folder in (Path("ava"), Path()):
        if (folder / "AVA.txt").is_file():
            return folder
    raise ConfigurationError(
        "There is no data to train on: --ava is not given, and neither ./ava nor this folder has an AVA.txt. Name a "
        f"folder with --ava, or make one:\n{WAYS_TO_DATA}"
    )
