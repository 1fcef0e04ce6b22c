"""Reads the data sets that people use besides AVA, from their own files as published.

Each reader knows the files' names and columns, and the folders in which the photos lie. docs/data.md tells where to get
the data sets. Sources of the layouts: KonIQ-10k's own list in the authors' repository (subpic/koniq), EVA's and PARA's
own read-me files, and for TAD66K the authors' data set class (TANet, `code/TAD66K/dataset.py`); for SPAQ and AADB the
classes of at least two public projects each, which agree with each other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

from nima.datasets.csv_file import FIVE_VOTES, RowError, counted, moments, table_rows
from nima.datasets.rows import DatasetImportError, RatedPhoto, RatedSource, Refusal, Row
from nima.datasets.scales import AVA_SCALE, STAR_SCALE, Scale, votes_of_moments, votes_on
from nima.datasets.tables import TableRow, read_csv, read_words, read_worksheet, to_number

_UNIT_SCALE, _TEN_SCALE, _HUNDRED_SCALE = Scale(0, 1), Scale(0, 10), Scale(0, 100)
_PARA_COLUMNS = tuple(f"aestheticscore_{1 + step / 2:.1f}" for step in range(9))
_UNKNOWN_LICENCE = "as its publisher states, see docs/data.md"


def published_source(folder: Path, photos: Path | None) -> RatedSource | None:
    """Returns the source of the published data set in a folder; None if its files are not there.

    Args:
        folder: folder of the data set, as it is unpacked.
        photos: folder in which the photos lie; None for the data set's own folders.

    Raises `DatasetImportError` if a file of the data set cannot be read.
    """
    for find in (_koniq, _spaq, _aadb, _eva, _para, _tad66k):
        if (source := find(folder, photos)) is not None:
            return source
    return None


PUBLISHED = ("KonIQ-10k", "SPAQ", "AADB", "EVA", "PARA", "TAD66K")
"""Names of the data sets that `published_source` knows."""


def _koniq(root: Path, photos: Path | None) -> RatedSource | None:
    """Finds KonIQ-10k: shares or counts of five ratings a photo; one of its two lists names the photos for testing."""
    file = _existing(root, "koniq10k_distributions_sets.csv", "koniq10k_scores_and_distributions.csv")
    if file is None:
        return None
    home = _photo_folder(root, photos, "1024x768", "512x384")

    def rows() -> Iterator[Row]:
        table = _with_columns(file, read_csv(file), "image_name", *FIVE_VOTES)
        return table_rows(
            table, lambda row: row.fields["image_name"], counted(FIVE_VOTES, STAR_SCALE),
            lambda row: row.fields.get("set") == "test",
        )  # fmt: skip

    return RatedSource("KonIQ-10k", "crowd workers", _UNKNOWN_LICENCE, home, rows, private=False)


def _spaq(root: Path, photos: Path | None) -> RatedSource | None:
    """Finds SPAQ: mean opinion scores from 0 to 100, in a worksheet."""
    name = "MOS and Image attribute scores"
    file = _existing(root, *(f"{place}{name}{end}" for end in (".csv", ".xlsx") for place in ("", "Annotations/",
                     "annotations/")))  # fmt: skip
    if file is None:
        return None
    home = _photo_folder(root, photos, "TestImage")

    def rows() -> Iterator[Row]:
        read = read_csv if file.suffix == ".csv" else read_worksheet
        table = _with_columns(file, read(file), "image name", "mos")
        return table_rows(table, lambda row: row.fields["image name"], moments("mos", None, _HUNDRED_SCALE))

    return RatedSource("SPAQ", "people in a laboratory", _UNKNOWN_LICENCE, home, rows, private=False)


def _aadb(root: Path, photos: Path | None) -> RatedSource | None:
    """Finds AADB: mean scores from 0 to 1, in lists without a header; the new test list is the one for testing."""
    lists = root
    for inside in ("imgListFiles_label", "imgListFiles_label/imgListFiles_label"):
        lists = root / inside if (root / inside / "imgListTrainRegression_score.txt").is_file() else lists
    if not (lists / "imgListTrainRegression_score.txt").is_file():
        return None
    parts = [
        (lists / "imgListTrainRegression_score.txt", _inside(root, "datasetImages_originalSize"), False),
        (lists / "imgListValidationRegression_score.txt", _inside(root, "datasetImages_originalSize"), False),
        (lists / "imgListTestNewRegression_score.txt", _inside(root, "AADB_newtest_originalSize"), True),
    ]

    def rows() -> Iterator[Row]:
        for file, place, test in parts:
            if file.is_file():
                for where, words in read_words(file):
                    yield _aadb_row(where, words, place if photos is None else "", test)

    return RatedSource("AADB", "crowd workers", "for research only", photos or root, rows, private=False)


def _aadb_row(where: str, words: list[str], place: str, test: bool) -> Row:
    if len(words) != 2:
        return Refusal("malformed", where, "a line has the name of a photo and its score")
    try:
        score = to_number(words[1], "the score")
    except ValueError as error:
        return Refusal("malformed", where, str(error))
    if score not in _UNIT_SCALE:
        return Refusal("out of range", where, f"the score {score:g} is not on the scale from {_UNIT_SCALE}")
    return RatedPhoto(f"{place}{words[0]}", votes_of_moments(_UNIT_SCALE, score), where, test)


def _eva(root: Path, photos: Path | None) -> RatedSource | None:
    """Finds EVA: one line a vote, a whole number from 0 to 10; the photos are AVA's."""
    file = _existing(root, "data/votes_filtered.csv", "votes_filtered.csv")
    if file is None:
        return None
    home = _photo_folder(root, photos, "images/EVA_together", "EVA_together", "images")

    def rows() -> Iterator[Row]:
        table = _with_columns(file, read_csv(file, delimiter="="), "image_id", "score")
        return _gathered(table, lambda row: f"{row.fields['image_id']}.jpg", "score", _TEN_SCALE)

    return RatedSource("EVA", "people on the web", _UNKNOWN_LICENCE, home, rows, private=False)


def _para(root: Path, photos: Path | None) -> RatedSource | None:
    """Finds PARA: counts of nine scores from 1 to 5 in steps of a half; or single scores, with none for testing."""
    home = _photo_folder(root, photos, "imgs")
    train = _existing(root, "annotation/PARA-GiaaTrain.csv", "PARA-GiaaTrain.csv")
    single = _existing(root, "annotation/PARA-Images.csv", "PARA-Images.csv")

    def name(row: TableRow) -> str:
        return f"{row.fields['sessionid']}/{row.fields['imagename']}"

    def distributions(file: Path, test: bool) -> Iterator[Row]:
        table = _with_columns(file, read_csv(file), "sessionid", "imagename", *_PARA_COLUMNS)
        return table_rows(table, name, counted(_PARA_COLUMNS, STAR_SCALE), lambda row: test)

    def rows() -> Iterator[Row]:
        if train is None:
            assert single is not None
            table = _with_columns(single, read_csv(single), "sessionid", "imagename", "aestheticscore")
            return _gathered(table, name, "aestheticscore", STAR_SCALE)
        test = train.with_name("PARA-GiaaTest.csv")
        return chain(distributions(train, False), distributions(test, True) if test.is_file() else ())

    if train is None and single is None:
        return None
    return RatedSource(
        "PARA", "people who were chosen and paid", "for research and learning only", home, rows, private=False
    )


def _tad66k(root: Path, photos: Path | None) -> RatedSource | None:
    """Finds TAD66K: means from 1 to 10, in a list for training and one for testing."""
    train = _existing(root, "labels/merge/train.csv", "merge/train.csv")
    if train is None:
        return None
    home = _photo_folder(root, photos, "TAD66K", "imgs")

    def part(file: Path, test: bool) -> Iterator[Row]:
        table = _with_columns(file, read_csv(file), "image", "score")
        return table_rows(table, lambda row: row.fields["image"], moments("score", None, AVA_SCALE), lambda row: test)

    def rows() -> Iterator[Row]:
        test = train.with_name("test.csv")
        return chain(part(train, False), part(test, True) if test.is_file() else ())

    return RatedSource(
        "TAD66K", "people who were asked by theme", "Apache-2.0 for the scores", home, rows, private=False
    )


def _gathered(table: Iterator[TableRow], name: Callable[[TableRow], str], column: str, scale: Scale) -> Iterator[Row]:
    """Yields the refusals among single votes, then a photo for each name, at the place of its first vote."""
    votes: defaultdict[str, defaultdict[float, int]] = defaultdict(lambda: defaultdict(int))
    places: dict[str, str] = {}
    for row in table:
        try:
            score = row.number(column)
            if score not in scale:
                raise RowError("out of range", f"{column} {score:g} is not on the scale from {scale}")
        except ValueError as error:
            yield Refusal("malformed", row.where, str(error))
        except RowError as error:
            yield Refusal(error.kind, row.where, str(error))
        else:
            places.setdefault(name(row), row.where)
            votes[name(row)][score] += 1
    for photo, where in places.items():
        yield RatedPhoto(photo, votes_on(scale, list(votes[photo]), list(votes[photo].values())), where)


def _with_columns(file: Path, table: Iterator[TableRow], *columns: str) -> Iterator[TableRow]:
    """Yields the rows of a table. Raises `DatasetImportError` at the first row if a column is missing."""
    for number, row in enumerate(table):
        if number == 0 and (missing := [column for column in columns if column not in row.fields]):
            raise DatasetImportError(f"{file}: the column {missing[0]} is missing. Take the file as it was published.")
        yield row


def _existing(root: Path, *names: str) -> Path | None:
    return next((root / name for name in names if (root / name).is_file()), None)


def _photo_folder(root: Path, photos: Path | None, *names: str) -> Path:
    """Returns the folder of the photos: the one that is given, or the first of the data set's own that exists."""
    return photos or next((root / name for name in names if (root / name).is_dir()), root)


def _inside(root: Path, name: str) -> str:
    return f"{name}/" if (root / name).is_dir() else ""
