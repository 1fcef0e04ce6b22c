"""Draws a sample of each published data set, with the published names of files, columns and folders, and the scales."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from listed_photos import draw_photos
from openpyxl import Workbook


def koniq(root: Path) -> None:
    draw_photos(root / "1024x768", "10004473376.jpg", "10007357496.jpg")
    (root / "koniq10k_distributions_sets.csv").write_text(
        "image_name,c1,c2,c3,c4,c5,c_total,MOS,SD,set\n"
        "10004473376.jpg,0.0,0.0,0.238095238095,0.695238095238,0.0666666666667,105,77.3836206897,0.527277894494,training\n"
        "10007357496.jpg,0.0,0.03125,0.46875,0.489583333333,0.0104166666667,96,68.7285714286,0.580003024795,test\n"
    )


def koniq_counts(root: Path) -> None:
    draw_photos(root / "1024x768", "10004473376.jpg")
    (root / "koniq10k_scores_and_distributions.csv").write_text(
        '"image_name","c1","c2","c3","c4","c5","c_total","MOS","SD","MOS_zscore"\n'
        '"10004473376.jpg",0,0,25,73,7,105,3.828,0.527,77.38\n'
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
    "KonIQ-10k": (koniq, [1 + 9 / 4 * (25 * 2 + 73 * 3 + 7 * 4) / 105, 1 + 9 / 4 * (3 + 45 * 2 + 47 * 3 + 4) / 96], 1),
    "SPAQ": (spaq, [1 + 9 * 0.335, 10], 0),
    "AADB": (aadb, [1 + 9 * 0.35, 10, 1], 1),
    "EVA": (eva, [1 + 9 * 0.9, 1], 0),
    "PARA": (para, [1 + 9 * 0.75, 1 + 9 * 0.75], 1),
    "TAD66K": (tad66k, [6.6, 1.13], 1),
}
