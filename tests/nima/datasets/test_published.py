"""Tests of the readers of published data sets, each on a drawn sample."""

from __future__ import annotations

from pathlib import Path

import pytest
from listed_photos import draw_photos, imported
from published_samples import SAMPLES, aadb, koniq, koniq_counts, para_singles

from nima.ava import check_photos, random_split, read_ratings, read_split
from nima.datasets import DatasetImportError, Refusal, find_source
from nima.ratings import mean_rating, normalise_votes


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_becomes_a_data_set_that_every_command_can_use(name: str, tmp_path: Path) -> None:
    draw, means, tests = SAMPLES[name]
    root, out = tmp_path / "published", tmp_path / "ava"
    draw(root)
    source = find_source(root)
    assert source.name == name
    report = imported(source, out)
    assert (report.photos, report.test_photos, report.refused) == (len(means), tests, [])
    ratings = read_ratings(out)
    assert mean_rating(normalise_votes(ratings.votes)).tolist() == pytest.approx(means, abs=0.0025)
    assert check_photos(out, ratings).clean == ratings.image_ids.tolist()
    assert len(random_split(ratings.image_ids, 0, 0.5).image_ids) == max(1, round(len(means) / 2))
    if tests:
        assert read_split(out / "splits" / "test.txt").image_ids.tolist() == [ratings.image_ids[-1]]


def test_both_lists_of_koniq_are_read(tmp_path: Path) -> None:
    koniq_counts(tmp_path)
    (photo,) = find_source(tmp_path).rows()
    assert not isinstance(photo, Refusal)
    assert float(mean_rating(normalise_votes(photo.votes))) == pytest.approx(SAMPLES["KonIQ-10k"][1][0], abs=0.0025)


def test_single_scores_of_para_are_gathered_and_wrong_ones_named(tmp_path: Path) -> None:
    para_singles(tmp_path)
    *refused, photo = find_source(tmp_path).rows()
    assert [str(row) for row in refused] == [
        "PARA-Images.csv: line 4: aestheticscore 5.5 is not on the scale from 1 to 5"
    ]
    assert not isinstance(photo, Refusal)
    assert photo.votes == (1, 0, 0, 0, 0, 0, 0, 0, 0, 1)


def test_scores_of_spaq_may_be_a_csv_file_that_a_spreadsheet_saved(tmp_path: Path) -> None:
    draw_photos(tmp_path / "TestImage", "00001.jpg")
    (tmp_path / "MOS and Image attribute scores.csv").write_text("Image name,MOS\n00001.jpg,50\n")
    assert len(list(find_source(tmp_path).rows())) == 1


def test_wrong_lines_of_lists_without_a_header_are_named(tmp_path: Path) -> None:
    aadb(tmp_path)
    (tmp_path / "imgListFiles_label" / "imgListTrainRegression_score.txt").write_text("a.jpg\nb.jpg x\nc.jpg 1.5\n")
    refused = [row for row in find_source(tmp_path).rows() if isinstance(row, Refusal)]
    assert [row.kind for row in refused] == ["malformed", "malformed", "out of range"]
    assert refused[2].where == "imgListTrainRegression_score.txt: line 3"


def test_photos_may_lie_elsewhere(tmp_path: Path) -> None:
    koniq(tmp_path / "lists")
    (tmp_path / "lists" / "1024x768").rename(tmp_path / "photos")
    source = find_source(tmp_path / "lists", photos=tmp_path / "photos")
    assert imported(source, tmp_path / "ava").photos == 2


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("koniq10k_scores_and_distributions.csv", b"image_name,c1\na.jpg,1\n"),
        ("MOS and Image attribute scores.xlsx", b"no zip"),
        ("votes_filtered.csv", b"image_id,score\n1,2\n"),
    ],
)
def test_a_file_with_other_columns_or_content_is_an_error(file: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / file).write_bytes(content)
    with pytest.raises(DatasetImportError, match=file):
        list(find_source(tmp_path).rows())


def test_an_unknown_folder_is_told_what_is_known(tmp_path: Path) -> None:
    with pytest.raises(DatasetImportError, match=r"KonIQ-10k, .*--xmp"):
        find_source(tmp_path)
