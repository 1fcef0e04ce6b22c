"""Writes a source of rated photos as a data folder in AVA's layout.

    OUT/AVA.txt             the votes, as in AVA
    OUT/images/<id>.jpg     a link to each photo, or a copy
    OUT/ids.csv             the id of each photo: image_id,photo (the path as the source has it)
    OUT/refused.csv         the rows that were not imported: kind,where,reason
    OUT/dataset.json        the description of the data set (`nima.ava.Dataset`)
    OUT/splits/test.txt     the photos for testing, if the publishers named them; train.txt the others

An id follows from the photo's path alone (the first 50 bits of its SHA-256), so it is the same whenever the import is
repeated, also into another folder and after other photos have come or gone. ids.csv keeps the ids nevertheless: of two
paths with the same bits, the later one has the next number.

AVA.txt comes last: a folder without it is no data set, so an import that was killed leaves none, and the same command
goes on. If there was one before, it stays whole until the new one replaces it.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from nima.ava import Dataset, image_path, write_image_ids
from nima.datasets.rows import DatasetImportError, RatedPhoto, RatedSource, Refusal, RefusalKind
from nima.datasets.tables import read_csv
from nima.photos import AVA_LONG_SIDE, RAW_SUFFIXES, PhotoError, open_image, open_photo
from nima.safe_io import one_line, printable, write_atomically

ID_BITS = 50
_MAX_TEXT = 300
_REASON = 200
_JPEG_QUALITY = 95
Kept = Literal["hard link", "symbolic link", "copy", "developed"]


@dataclass
class ImportReport:
    """Says what an import did.

    photos, test_photos: numbers of photos in the new data set, and of those among them that are for testing.
    kept: number of photos by the way in which they are kept.
    refused: the rows that were not imported, in the order of the source.
    """

    photos: int = 0
    test_photos: int = 0
    kept: Counter[Kept] = field(default_factory=Counter)
    refused: list[Refusal] = field(default_factory=list)

    def refused_by_kind(self) -> dict[RefusalKind, int]:
        """Returns the number of refused rows of each kind, the most frequent kind first."""
        return dict(Counter(refusal.kind for refusal in self.refused).most_common())


def import_dataset(
    source: RatedSource,
    out: Path,
    about: Dataset,
    copy: bool = False,
    progress: Callable[[int], None] = lambda done: None,
) -> ImportReport:
    """Makes the data set of a source in a folder, or brings the one that an earlier import made there up to date.

    A photo is kept as a hard link, which costs no space and stays valid if source or data set move within their disk;
    across disks as a symbolic link to its absolute path, which breaks if the source moves. RAW photos are developed to
    JPEGs of AVA's size, as a name in `images/` does not tell that a file is RAW.

    Args:
        source: the source; its rows are read once.
        out: folder of the data set; it is made if it does not exist.
        about: what dataset.json is to say.
        copy: True copies the photos.
        progress: is called after each row with the number of rows so far.

    Raises:
        DatasetImportError: `out` holds another data set, or cannot be written; or no photo can be imported.
    """
    if (out / "AVA.txt").exists() and not (out / "ids.csv").exists():
        raise DatasetImportError(f"{out} holds a data set that no import made. Choose another folder.")
    earlier = _read_ids(out / "ids.csv")
    try:
        (out / "images").mkdir(parents=True, exist_ok=True)
        importing = _Importing(source.photos, out, earlier, copy)
        for number, row in enumerate(source.rows(), start=1):
            importing.add(row)
            progress(number)
        if not importing.photos:
            raise DatasetImportError(_nothing(source, importing.report))
        importing.finish(about)
    except OSError as error:
        raise DatasetImportError(
            f"{out} cannot be written ({error.strerror or error}). Choose another folder."
        ) from error
    return importing.report


class _Importing:
    def __init__(self, root: Path, out: Path, earlier: dict[str, int], copy: bool) -> None:
        self.report = ImportReport()
        self.photos: dict[int, RatedPhoto] = {}
        self._root, self._out, self._copy = root, out, copy
        self._resolved_root = root.resolve()
        self._earlier = earlier
        self._taken = set(earlier.values())
        self._places: dict[Path, str] = {}

    def add(self, row: RatedPhoto | Refusal) -> None:
        """Takes a photo into the data set, or notes why not."""
        refused = self._import(row) if isinstance(row, RatedPhoto) else row
        if refused is not None:
            self.report.refused.append(refused)

    def finish(self, about: Dataset) -> None:
        """Writes all that belongs to the photos: their list last, and then removes photos that are no longer in it."""
        out = self._out
        names = [(image_id, photo.name) for image_id, photo in self.photos.items()]
        write_atomically(out / "ids.csv", _csv(("image_id", "photo"), names))
        refused = [(one.kind, printable(one.where), one_line(one.reason)) for one in self.report.refused]
        write_atomically(out / "refused.csv", _csv(("kind", "where", "reason"), refused))
        about.write(out)
        test = {image_id for image_id, photo in self.photos.items() if photo.test}
        if test:
            write_image_ids(out / "splits" / "test.txt", sorted(test))
            write_image_ids(out / "splits" / "train.txt", sorted(self.photos.keys() - test))
        lines = [
            " ".join(map(str, (index, image_id, *photo.votes, 0, 0, 0)))
            for index, (image_id, photo) in enumerate(self.photos.items(), start=1)
        ]
        write_atomically(out / "AVA.txt", ("\n".join(lines) + "\n").encode())
        for image_id in set(self._earlier.values()) - self.photos.keys():
            image_path(out, image_id).unlink(missing_ok=True)
        self.report.photos, self.report.test_photos = len(self.photos), len(test)

    def _import(self, row: RatedPhoto) -> Refusal | None:
        """Brings the photo into the data set; returns the refusal if it cannot be."""
        if not row.name or "\0" in row.name or len(os.fsencode(row.name)) > 4096:
            return Refusal("malformed", row.where, "the name of the photo is empty, or no name")
        shown = one_line(row.name, _MAX_TEXT)
        try:
            path = (self._root / row.name).resolve()
            exists = path.exists()
        except (OSError, RuntimeError):  # a circle of links, or a name that no file can have
            return Refusal("missing", row.where, f"{shown} does not exist")
        if not path.is_relative_to(self._resolved_root):
            return Refusal("outside", row.where, f"{shown} leads out of the folder of photos")
        if path in self._places:
            return Refusal("duplicate", row.where, f"{shown} is the photo of {self._places[path]} already")
        if not exists:
            return Refusal("missing", row.where, f"{shown} does not exist")
        try:
            image_id = self._id_of(path.relative_to(self._resolved_root).as_posix())
            self.report.kept[_keep(path, image_path(self._out, image_id), self._copy)] += 1
        except PhotoError as error:
            reason = one_line(str(error).removeprefix(f"{path}: "), _REASON)
            return Refusal("unreadable", row.where, f"{shown}: {reason}")
        self._places[path] = row.where
        self.photos[image_id] = RatedPhoto(
            path.relative_to(self._resolved_root).as_posix(), row.votes, row.where, row.test
        )
        return None

    def _id_of(self, name: str) -> int:
        if name in self._earlier:
            return self._earlier[name]
        digest = hashlib.sha256(os.fsencode(name)).digest()
        image_id = max(1, int.from_bytes(digest[:8], "big") >> (64 - ID_BITS))
        while image_id in self._taken:
            image_id += 1
        self._taken.add(image_id)
        return image_id


def _keep(photo: Path, target: Path, copy: bool) -> Kept:
    """Brings a photo to its place in the data set, unless it is there; raises `PhotoError` if it is no photo."""
    draft = target.with_name(f".{target.name}")
    draft.unlink(missing_ok=True)
    if photo.suffix.lower() in RAW_SUFFIXES:
        if not _is_of(photo, target):
            open_photo(photo, AVA_LONG_SIDE).save(draft, "JPEG", quality=_JPEG_QUALITY)
            shutil.copystat(photo, draft)
            os.replace(draft, target)
        return "developed"
    _check_photo(photo)
    if copy:
        if not (_is_of(photo, target) and target.stat().st_size == photo.stat().st_size):
            shutil.copy2(photo, draft)
            os.replace(draft, target)
        return "copy"
    linked: Kept = "hard link"
    if target.is_symlink() or not target.exists() or not target.samefile(photo):
        try:
            os.link(photo, draft)
        except OSError:  # another disk, or a file system or a rule without hard links
            os.symlink(photo, draft)
            linked = "symbolic link"
        os.replace(draft, target)  # does nothing if both are links to one file already
        draft.unlink(missing_ok=True)
    return linked


def _is_of(photo: Path, target: Path) -> bool:
    """Returns whether the target is a file that an earlier import made of the photo as it is now, and no link to it."""
    if target.is_symlink() or not target.is_file() or target.samefile(photo):
        return False
    return target.stat().st_mtime_ns == photo.stat().st_mtime_ns


def _check_photo(photo: Path) -> None:
    """Reads the header of a photo. Raises `PhotoError` if the file is none; `ava check` decodes photos in full."""
    if not photo.is_file():
        raise PhotoError("this is no file.")
    try:
        with photo.open("rb") as file, open_image(file):
            pass
    except PhotoError:
        raise
    except OSError as error:
        raise PhotoError(f"the file cannot be read ({error.strerror or error}).") from error
    except Exception as error:  # as decoders raise
        raise PhotoError(f"the photo is damaged ({one_line(str(error), _REASON)}).") from error


def _read_ids(path: Path) -> dict[str, int]:
    """Returns the ids of an earlier import by the photos' paths. Raises `DatasetImportError` if they are damaged."""
    if not path.exists():
        return {}
    try:
        ids = {row.fields["photo"]: int(row.fields["image_id"]) for row in read_csv(path)}
    except (KeyError, ValueError, DatasetImportError) as error:
        raise DatasetImportError(f"{path} is damaged. Remove it, and import again.") from error
    if len(set(ids.values())) != len(ids) or not all(0 < image_id < 2**63 for image_id in ids.values()):
        raise DatasetImportError(f"{path} is damaged: an id stands twice or is none. Remove it, and import again.")
    return ids


def _csv(header: Iterable[str], rows: Iterable[Iterable[object]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().encode("utf-8", "surrogateescape")


def _nothing(source: RatedSource, report: ImportReport) -> str:
    if not report.refused:
        return f"{source.name} has no rated photo: {source.photos} is empty."
    reasons = "; ".join(str(refusal) for refusal in report.refused[:3])
    return (
        f"None of the {len(report.refused):,} rows of {source.name} can be imported ({one_line(reasons)}). The paths "
        f"of photos begin at {source.photos}; --photos names another folder."
    )
