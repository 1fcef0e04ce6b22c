"""Makes shards of an AVA folder: for the clients, for the hold-out and for the test; leaves out unreadable photos."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nima.ava import Ratings, image_path
from nima.errors import NimaError
from nima.model import Preparation, find_backbone
from nima.photos import PhotoError, open_photo
from nima.wire import ShardInfo, write_shard, write_votes
from requestor.planning import SHARD_IMAGES
from requestor.training.data.dataset import Client, Dataset

HOLDOUT_SHARE = 0.1  # share of the training photos that never leaves this machine
HOLDOUT_LIMIT = 2000  # most photos of the hold-out, however many training photos there are
UNREADABLE_LIMIT = 0.02  # share of photos that may be missing or corrupt; AVA itself lacks 6 of 255,530
SHOWN_IDS = 5  # number of reasons that an error message gives


def holdout_images(images: int) -> int:
    """Returns how many of so many training photos never leave this machine."""
    return min(HOLDOUT_LIMIT, max(1, round(HOLDOUT_SHARE * images)))


@dataclass(frozen=True)
class RatedPhotos:
    """The photos of a run, before shards are made of them.

    ava: folder with `images/<id>.jpg`.
    ratings: the ratings of all images in the folder.
    test_ids: ids of the test images, on which nobody trains; their shards hold no votes.
    """

    ava: Path
    ratings: Ratings
    test_ids: NDArray[np.int64]


def make_shards(
    photos: RatedPhotos,
    clients: int,
    backbone: str,
    seed: int,
    store: Path,
    home: Path,
    progress: Callable[[int, int], None],
    random_crops: bool = False,
    preparation: Preparation | None = None,
) -> Dataset:
    """Shuffles and splits an AVA folder, and writes it as shards.

    The shuffle is global and comes first: if shards were sorted by anything, their updates would differ too much. The
    votes of the clients' photos are written into files of their own; the hold-out holds its votes itself.

    Args:
        photos: the folder, its ratings, and the test images.
        clients: number of parts into which the training images are split.
        backbone: name of the backbone.
        preparation: decides how the images are stored; None for the backbone's own.
        store, home: folders for the shards that are sent, and for the hold-out.
        progress: is called with (photos done, photos in all).
        random_crops: True if clients train on random crops, which need more of a photo than its middle.

    Raises:
        NimaError: Too many photos are missing or unreadable, or too few are left to train on.
    """
    ava, ratings = photos.ava, photos.ratings
    tested = np.isin(ratings.image_ids, photos.test_ids)
    rows = np.random.default_rng(seed).permutation(np.flatnonzero(~tested))
    test_rows = np.flatnonzero(tested)
    if len(test_rows) == 0:
        raise NimaError(f"None of the test ids has a rating in {ava / 'AVA.txt'}: choose ids from that list.")
    kept_home = holdout_images(len(rows))
    if len(rows) - kept_home < clients:
        raise NimaError(
            f"{ava} has {len(rows)} photos to train on, too few for {clients} workers: take fewer --workers."
        )
    reader = _Reader(photos, preparation or find_backbone(backbone).preparation, progress)
    holdout = next(reader.shards(rows[:kept_home], home, kept_home, votes="inside"))[0]
    parts = [
        _client(reader.shards(part, store, votes="beside", random_crops=random_crops))
        for part in np.array_split(rows[kept_home:], clients)
    ]
    # Several shards even for few photos, so that all workers take part in the evaluation.
    size = min(SHARD_IMAGES, -(-len(test_rows) // clients))
    test = _client(reader.shards(test_rows, store, size))
    return Dataset(parts, holdout, test, reader.skipped)


class _Reader:
    """Reads photos on all cores, and remembers the reasons why some could not be read."""

    def __init__(self, photos: RatedPhotos, preparation: Preparation, progress: Callable[[int, int], None]) -> None:
        self._ava = photos.ava
        self._ratings = photos.ratings
        self._preparation = preparation
        self._total = len(photos.ratings)
        self._progress = progress
        self._done = 0
        self.skipped: list[str] = []

    def shards(
        self,
        rows: NDArray[np.int64],
        folder: Path,
        size: int = SHARD_IMAGES,
        votes: Literal["inside", "beside", "none"] = "none",
        random_crops: bool = False,
    ) -> Iterator[tuple[ShardInfo, str | None]]:
        """Writes the photos of `rows` as shards of about equal size, and yields each with the SHA-256 of its votes.

        Args:
            rows: rows of the ratings, `[n]`.
            folder: the folder of the shards and of their votes.
            size: largest number of photos in a shard.
            votes: the place of the votes: inside the shard, in a file beside it, or nowhere.
            random_crops: True if the images must hold more than the middle of a photo.

        Raises NimaError if too many photos are unreadable, or all of a shard.
        """
        for part in np.array_split(rows, max(1, -(-len(rows) // size))):
            readable: list[int] = []
            jpegs: list[bytes] = []
            for row, jpeg in self._read(part.tolist(), random_crops):
                if jpeg is not None:
                    readable.append(row)
                    jpegs.append(jpeg)
            if not jpegs:
                raise self._incomplete()
            ids, rated = self._ratings.image_ids[readable], self._ratings.votes[readable]
            beside = write_votes(folder, ids, rated) if votes == "beside" else None
            yield write_shard(folder, ids, rated if votes == "inside" else None, jpegs), beside

    def _read(self, rows: Sequence[int], random_crops: bool) -> Iterator[tuple[int, bytes | None]]:
        """Yields (row, stored image), in order; the image is None if the photo could not be read.

        Several threads decode at the same time, because decoding releases the interpreter's lock.
        """
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            waiting = iter(rows)
            running = [(row, pool.submit(self._stored, row, random_crops)) for row in islice(waiting, 64)]
            while running:
                row, future = running.pop(0)
                running.extend((row, pool.submit(self._stored, row, random_crops)) for row in islice(waiting, 1))
                jpeg, problem = future.result()
                if problem is not None:
                    self._skip(problem)
                self._done += 1
                self._progress(self._done, self._total)
                yield row, jpeg

    def _stored(self, row: int, random_crops: bool) -> tuple[bytes | None, str | None]:
        path = image_path(self._ava, int(self._ratings.image_ids[row]))
        try:
            photo = open_photo(path, self._preparation.long_side)
            return self._preparation.store(photo, random_crops=random_crops), None
        except PhotoError as error:
            return None, str(error)

    def _skip(self, problem: str) -> None:
        self.skipped.append(problem)
        if len(self.skipped) > max(SHOWN_IDS, UNREADABLE_LIMIT * self._total):
            raise self._incomplete()

    def _incomplete(self) -> NimaError:
        return NimaError(
            f"Too many of the photos in {self._ava / 'images'} are missing or unreadable: "
            f"{'; '.join(self.skipped[:SHOWN_IDS])} … Complete the data set, or take the rows out of AVA.txt."
        )


def _client(shards: Iterator[tuple[ShardInfo, str | None]]) -> Client:
    written = list(shards)
    return Client(
        tuple(info.sha256 for info, _ in written),
        tuple(info.path for info, _ in written),
        tuple(info.images for info, _ in written),
        tuple(votes for _, votes in written if votes is not None),
    )
