"""Tests of the readers of published data sets, each on a drawn sample with the published names, columns and scales."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from openpyxl import Workbook
from listed_photos import draw_photos, imported

from nima.ava import check_photos, random_split, read_ratings, read_split
from nima.datasets import DatasetImportError, Refusal, find_source
from nima.ratings import mean_rating, normalise_votes


def koniq(root: Path) -> None:
    draw_photos(root / "1024x768", "10004473376.jpg", "10007357496.jpg")
    (root / "koniq10k_scores_and_distributions.csv").write_text(
        '"image_name","c1","c2","c3","c4","c5","c_total","MOS","SD","MOS_zscore"\n'
        '"10004473376.jpg",0,0,25,73,7,105,3.828,0.527,77.38\n"10007357496.jpg",0,3,45,47,1,96,3.479,0.580,67.2\n'
    )


def spaq(root: Path) -> None:
    draw_photos(root / "TestImage", "00001.jpg", "00002.jpg")
    (root / "Annotations").mkdir()
    book = Workbook()
    sheet = book.active
    sheet.append(["Image name", "MOS", "Brightness", "Colorfulness", "Contrast", "Noisiness", "Sharpness"])
    sheet.append(["00001.jpg", 33.5, 43, 52.33, 47, 41.67, 36.67])
    sheet.append(["00002.jpg", 100, 63, 60, 60, 60, 60])
    book.save(root / "Annotations" / "MOS and Image attribute scores.xlsx")


def aadb(root: Path) -> None:
    draw_photos(root / "datasetImages_originalSize", "farm1_1_2.jpg", "farm1_3_4.jpg")
    draw_photos(root / "AADB_newtest_originalSize", "farm1_5_6.jpg")
    (root / "imgListFiles_label").mkdir()
    for name, line in (
        ("Train", "farm1_1_2.jpg 0.35"),
        ("Validation", "farm1_3_4.jpg 1"),
        ("TestNew", "farm1_5_6.jpg 0"),
    ):
        (root / "imgListFiles_label" / f"imgList{name}Regression_score.txt").write_text(f"{line}\n")


def eva(root: Path) -> None:
    draw_photos(root / "images" / "EVA_together", "953619.jpg", "953897.jpg")
    (root / "data").mkdir()
    (root / "data" / "votes_filtered.csv").write_text(
        '"image_id"="user_id"="score"="difficulty"="visual"="composition"="quality"="semantic"="vote_time"="1"="2"="3"="4"\n'
        '"953619"="E1773"="8"="3"="3"="3"="3"="3"="12"="1"="0"="0"="0"\n'
        '"953897"="E1773"="0"="3"="3"="3"="3"="3"="12"="1"="0"="0"="0"\n'
        '"953619"="C76"="10"="3"="3"="3"="3"="3"="12"="1"="0"="0"="0"\n'
    )


_PARA = ",".join(f"aestheticScore_{1 + step / 2:.1f}" for step in range(9))


def para(root: Path) -> None:
    draw_photos(root / "imgs", "session1/iaa_pub1_.jpg", "session2/iaa_pub71_.jpg")
    (root / "annotation").mkdir()
    for part, row in (("Train", "iaa_pub1_.jpg,session1"), ("Test", "iaa_pub71_.jpg,session2")):
        (root / "annotation" / f"PARA-Giaa{part}.csv").write_text(
            f"imageName,sessionId,semantic,{_PARA},aestheticScore_mean,aestheticScore_std\n"
            f"{row},portrait,1,0,0,0,0,0,0,0,3,4.0,1.7\n"
        )


def para_singles(root: Path) -> None:
    draw_photos(root / "imgs", "session1/iaa_pub1_.jpg")
    (root / "annotation").mkdir()
    (root / "annotation" / "PARA-Images.csv").write_text(
        "sessionId,imageName,userId,aestheticScore,qualityScore\n"
        "session1,iaa_pub1_.jpg,A1,1.0,3\nsession1,iaa_pub1_.jpg,A2,5.0,3\nsession1,iaa_pub1_.jpg,A3,5.5,3\n"
    )


def tad66k(root: Path) -> None:
    draw_photos(root / "TAD66K", "1.jpg", "2.jpg")
    (root / "labels" / "merge").mkdir(parents=True)
    (root / "labels" / "merge" / "train.csv").write_text("image,score\n1.jpg,6.6\n")
    (root / "labels" / "merge" / "test.csv").write_text("image,score\n2.jpg,1.13\n")


# data set → the means of its photos on the scale from 1 to 10, computed by hand, and the number for testing
SAMPLES: dict[str, tuple[Callable[[Path], None], list[float], int]] = {
    "KonIQ-10k": (koniq, [1 + 9 / 4 * (25 * 2 + 73 * 3 + 7 * 4) / 105, 1 + 9 / 4 * (3 + 45 * 2 + 47 * 3 + 4) / 96], 0),
    "SPAQ": (spaq, [1 + 9 * 0.335, 10], 0),
    "AADB": (aadb, [1 + 9 * 0.35, 10, 1], 1),
    "EVA": (eva, [1 + 9 * 0.9, 1], 0),
    "PARA": (para, [1 + 9 * 0.75, 1 + 9 * 0.75], 1),
    "TAD66K": (tad66k, [6.6, 1.13], 1),
}


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
