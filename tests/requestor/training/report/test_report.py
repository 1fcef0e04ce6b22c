"""The report of a run: the events that its files record, and the page that a browser shows."""

from __future__ import annotations

import html
import json
import re
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from ava_folder import make_ava_folder
from browser import Browser
from PIL import Image
from run_folder import add_round, finish_run, pay, start_run, update

from nima.ava.prediction_table import read_prediction_table
from nima.ava.ratings_list import image_path, read_ratings
from nima.ratings.distribution import mean_rating, normalise_votes
from nima.version import VERSION
from requestor.errors import RunFolderError
from requestor.records.folder import RunFolder
from requestor.records.round_record import RoundEntry
from requestor.training.report.page import write_report
from requestor.training.report.photos import gallery
from requestor.training.report.record import read_tested

HOSTILE = (
    "<script>document.title = 'owned'</script>",
    '"><img src="https://example.org/x.png" onerror="document.title=\'owned\'">',
    "</style><svg onload=document.title='owned'>",
    "{{ record }}{% raw %}",
    "a-name-without-any-end-" * 50,
    "\u202egnp.exe\x1b[2J\ud800",
)

# The least contrast of any text, except the counts in the heat map, which lie on colours of all strengths.
CONTRAST = """
const channels = colour => colour.match(/[\\d.]+/g).map(Number);
const linear = value => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
const luminance = ([r, g, b]) => 0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
const behind = element => {
    for (; element; element = element.parentElement) {
        const colour = channels(getComputedStyle(element).backgroundColor);
        if (colour.length === 3) return colour;
    }
};
return [...document.querySelectorAll('main *:not(title, desc, .count)')]
    .filter(e => [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()) && e.getClientRects().length)
    .map(e => [getComputedStyle(e)[e.ownerSVGElement ? 'fill' : 'color'], behind(e)])
    .map(([text, back]) => [luminance(channels(text)), luminance(back)])
    .map(([text, back]) => (Math.max(text, back) + 0.05) / (Math.min(text, back) + 0.05))
    .reduce((least, ratio) => Math.min(least, ratio))
"""


@pytest.fixture(scope="module")
def ava(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_ava_folder(tmp_path_factory.mktemp("data") / "ava")


@pytest.fixture(scope="module")
def finished(ava: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Makes a finished run on Golem: three rounds, one of them skipped and repeated; one of four providers cheats."""
    folder = start_run(tmp_path_factory.mktemp("runs") / "run", ava)
    add_round(folder, ava, 1, [update("bold-fox"), update("calm-owl"), update("sly-cat")], "0.004")
    nobody = update(None, "no update", "the round closed before it came", loss=None)
    folder.append_metrics(RoundEntry(2, False, (nobody, nobody)))
    copied = update("sly-cat", "replay", "it is a copy of an update that came before")
    add_round(folder, ava, 2, [update("bold-fox"), update("calm-owl"), copied], "0.008")
    add_round(folder, ava, 3, [update("bold-fox"), update("calm-owl", seconds=2.0)], "0.0125")
    for provider, amount in (("bold-fox", "0.006"), ("calm-owl", "0.0055"), ("sly-cat", "0.001")):
        pay(folder, provider, Decimal(amount))
    refused = {"agreement": "of sly-cat", "amount": Decimal("0.002"), "reason": "nothing was of use"}
    folder.ledger.record("invoice_rejected", **refused)
    finish_run(folder, ava)
    folder.close()
    return write_report(folder.path)


@pytest.fixture(scope="module")
def hostile(ava: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Makes a run whose providers have names, and reasons for failures, that may break a page."""
    folder = start_run(tmp_path_factory.mktemp("hostile") / "run", ava)
    for number in (1, 2):
        updates = [update(name) for name in HOSTILE] + [update(name, "malformed", name) for name in HOSTILE]
        add_round(folder, ava, number, updates, "0.01")
    for name in HOSTILE:
        pay(folder, name, Decimal("0.001"))
    finish_run(folder, ava)
    folder.close()
    return write_report(folder.path)


def text(report: Path) -> str:
    """Returns the text of the page, without its tags."""
    body = report.read_text(encoding="utf-8").split("</style>", 1)[1]
    return " ".join(re.sub(r"<[^>]*>", " ", body).split())


def test_a_report_of_drawn_photos_does_not_speak_of_people(ava: Path, tmp_path: Path) -> None:
    folder = start_run(tmp_path / "run", ava)
    folder.write("data.json", {"name": "tiny-AVA", "raters": "a program", "licence": "MIT", "drawn": True})
    add_round(folder, ava, 1, [update("bold-fox")], "0.004")
    finish_run(folder, ava)
    folder.close()
    said = text(write_report(folder.path))
    assert "with the ratings of a program" in said
    assert "the model has learnt nothing about people’s taste" in said
    assert "trained on tiny-AVA" in said


def test_it_tells_what_the_run_was_and_links_its_results(finished: Path) -> None:
    said, page = text(finished), finished.read_text(encoding="utf-8")
    assert re.search(r"Began 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d UTC", said)
    assert f"Made by nima-golem {VERSION}" in said
    assert "Command nima-golem train --ava " in said
    links = set(re.findall(r'href="([\w.]+)"', page))
    assert links == {"model.safetensors", "predictions.csv", "receipt.json"}
    assert all((finished.parent / link).is_file() for link in links)


def test_it_holds_results_providers_prices_verdicts_and_cost(finished: Path) -> None:
    said = text(finished)
    metrics = json.loads((finished.parent / "evaluation.json").read_text())["metrics"]
    assert f"rank correlation of {metrics['srcc_mean']:.3f} with the ratings of unknown people" in said
    assert f"by how much raters disagree with a rank correlation of {metrics['srcc_std']:.3f}" in said
    assert f"SRCC of the spread {metrics['srcc_std']:.3f} 95%: " in said
    assert f"a constant: {metrics['constant_emd_r1']:.4f}" in said
    assert "0.0125 GLM of a budget of 0.5 GLM (2.5%)" in said
    # 640 samples in 8 s, 4 threads at 0.0000014 and a second at 0.000007 GLM
    assert re.search(r"bold-fox 1 task · 4 threads\s+3 of 3 admitted\s+80\s+0.04536\s+0.006\b", said)
    assert re.search(r"calm-owl .*? 3 of 3 admitted\s+96\s", said)
    assert re.search(r"sly-cat .*? bill of 0.002 GLM rejected\s+1 of 2 admitted", said)
    assert "replay it is a copy of an update that came before" in said
    assert "no update 2 times the round closed before it came" in said
    assert "left the model as it was" in said
    assert "3 kept 2 of 2" in said


def test_it_holds_the_model_card(finished: Path) -> None:
    said = text(finished)
    for fact in ("Backbone mobilenet_v3_small", "Data ava", "Licence of the starting weights BSD-3-Clause", "SHA-256"):
        assert fact in said
    evaluation = json.loads((finished.parent / "evaluation.json").read_text())
    figure, (low, high) = evaluation["metrics"]["emd_r1"], evaluation["intervals"]["emd_r1"]
    constant = evaluation["metrics"]["constant_emd_r1"]
    assert f"EMD, r = 1 {figure:.4f} {low:.4f} … {high:.4f} {constant:.4f}" in said
    assert "That is taste, not quality" in said


def test_only_the_style_of_the_page_itself_is_applied(finished: Path, browser: Browser, tmp_path: Path) -> None:
    page = finished.read_text(encoding="utf-8")
    policy = html.unescape(re.findall(r'Content-Security-Policy" content="(.*?)"', page)[0])
    assert "unsafe" not in policy
    assert "style=" not in page
    injected = "<style>body { display: none; }</style><p style='position: fixed'>x</p></html>"
    copy = tmp_path / "report.html"
    copy.write_text(page.replace("</html>", injected), encoding="utf-8")
    browser.open(copy)
    assert browser.run("return getComputedStyle(document.body).display") == "block"
    assert browser.run("return getComputedStyle(document.body.lastElementChild).position") == "static"
    assert browser.run("return getComputedStyle(document.querySelector('.meter')).overflow") == "hidden"
    assert len(browser.console()) == 2


def test_nothing_is_loaded_from_elsewhere(finished: Path, hostile: Path) -> None:
    allowed = r"data:image/jpeg;base64,|#|[A-Za-z_]+\.(safetensors|md|csv|json)[\"']"  # files beside the page
    for report in (finished, hostile):
        page = report.read_text(encoding="utf-8")
        tags = re.findall(r"<[a-z][^>]*>", page)
        assert not [tag for tag in tags if re.match(r"<(script|link|iframe|object|embed|base)\b", tag)]
        assert not [tag for tag in tags if re.search(rf"""\s(src|href|xlink:href)=["'](?!{allowed})""", tag)]
        assert "url(" not in page
        assert "@import" not in page


def test_it_is_made_from_the_folder_alone(finished: Path) -> None:
    before = finished.read_bytes()
    finished.unlink()
    assert write_report(finished.parent).read_bytes() == before


def test_photos_are_those_of_the_extreme_predictions_and_the_largest_misses(finished: Path, ava: Path) -> None:
    shown = gallery(read_tested(finished.parent, ava))
    table = read_prediction_table(finished.parent / "predictions.csv")
    predicted = mean_rating(table.probabilities)
    rated = mean_rating(normalise_votes(read_ratings(ava).select(table.image_ids).votes))
    by_score = table.image_ids[np.argsort(predicted)].tolist()
    assert [photo.image_id for photo in shown.lowest] == by_score[:6]
    assert [photo.image_id for photo in shown.highest] == by_score[::-1][:6]
    misses = table.image_ids[np.argsort(-np.abs(predicted - rated))].tolist()
    assert [photo.image_id for photo in shown.misses] == misses[:6]
    assert all(photo.picture for photo in shown.highest + shown.lowest + shown.misses)


def test_a_photo_that_is_gone_leaves_its_figures(finished: Path, ava: Path, tmp_path: Path) -> None:
    table = read_prediction_table(finished.parent / "predictions.csv")
    tested = read_tested(finished.parent, ava)
    (tmp_path / "images").mkdir()
    first = int(table.image_ids[0])
    image_path(tmp_path, first).write_bytes(b"no photo")
    shown = gallery(type(tested)(tested.image_ids, tested.predicted, tested.rated, tmp_path))
    assert all(photo.picture is None for photo in shown.highest)
    assert shown.highest[0].predicted >= shown.highest[1].predicted


def test_without_the_data_set_the_page_says_what_it_cannot_show(ava: Path, tmp_path: Path) -> None:
    folder = start_run(tmp_path / "run", tmp_path / "moved-away")
    add_round(folder, ava, 1, [update("bold-fox")])
    finish_run(folder, ava)
    said = text(write_report(folder.path))
    assert "cannot be shown" in said
    assert "moved-away" in said
    assert "EMD, r = 1" in said


def test_a_run_in_progress_is_shown_as_far_as_it_is(ava: Path, tmp_path: Path) -> None:
    folder = start_run(tmp_path / "run", ava, backend="local")
    assert "There is nothing to see yet" in text(write_report(folder.path))
    add_round(folder, ava, 1, [update("local-1"), update("local-2")])
    page = write_report(folder.path).read_text()
    assert '<meta http-equiv="refresh"' in page
    assert "1 of 3" in text(folder.path / "report.html")
    assert "nothing to pay" in text(folder.path / "report.html")
    assert "<polyline" not in page, "one point is no line"
    add_round(folder, ava, 2, [update("local-1"), update("local-2")])
    assert write_report(folder.path).read_text().count("<polyline") == 5  # 2 of loss, 1 of EMD, 2 of correlation
    finish_run(folder, ava)
    assert '<meta http-equiv="refresh"' not in write_report(folder.path).read_text()


def test_a_run_without_rounds_has_a_report(ava: Path, tmp_path: Path) -> None:
    folder = start_run(tmp_path / "run", ava, rounds=0)
    folder.append_metrics(RoundEntry(0, True, (update("bold-fox", samples=0),), spent_glm=Decimal("0.001")))
    finish_run(folder, ava)
    said = text(write_report(folder.path))
    assert "features 1 of 1" in said
    assert "1 of 1 admitted" in said


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="holds no training run"):
        write_report(tmp_path)
    RunFolder(tmp_path / "evaluation", {"model": "abc"})
    with pytest.raises(RunFolderError, match="holds no training run"):
        write_report(tmp_path / "evaluation")


def test_a_thousand_providers_make_no_endless_page(ava: Path, tmp_path: Path) -> None:
    folder = start_run(tmp_path / "run", ava)
    add_round(folder, ava, 1, [update(f"provider-{n}", "harmful", f"it is {n} times worse") for n in range(1000)])
    said = text(write_report(folder.path))
    assert "900 more are in receipt.json" in said
    assert "900 more are in metrics.jsonl" in said


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(390, 844), (1280, 900)], ids=["phone", "desktop"])
def test_a_browser_shows_it(
    browser: Browser, finished: Path, tmp_path: Path, width: int, height: int, dark: bool
) -> None:
    browser.open(finished, width, height, dark)
    assert browser.console() == []
    assert browser.run("return document.documentElement.scrollWidth") == width, "it need not be moved sideways"
    pictures = "return [...document.images].filter(i => i.complete && i.naturalWidth > 0).length"
    assert browser.run(pictures) == 18
    assert browser.run("return document.querySelectorAll('svg.heat g').length") == 100
    small = """return [...document.querySelectorAll('main *')]
        .filter(e => [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()) && e.getClientRects().length)
        .map(e => parseFloat(getComputedStyle(e).fontSize)
                  * (e.ownerSVGElement ? e.ownerSVGElement.getBoundingClientRect().width
                                         / e.ownerSVGElement.viewBox.baseVal.width : 1))
        .reduce((least, size) => Math.min(least, size))"""
    assert browser.run(small) >= 10, "text is large enough to be read"
    assert browser.run(CONTRAST) >= 4.5, "text stands out from what is behind it (WCAG 2.2, AA)"
    browser.screenshot(tmp_path / "page.png", whole=True)
    page = np.asarray(Image.open(tmp_path / "page.png").convert("L"))
    assert page.shape[1] == width
    assert page.shape[0] > 2 * height
    # Paper is light or dark as the reader chooses, and much is drawn on it.
    assert (np.median(page) < 64) if dark else (np.median(page) > 192)
    assert page.std() > 15


def test_a_browser_shows_what_providers_call_themselves_and_does_not_obey(browser: Browser, hostile: Path) -> None:
    browser.open(hostile, 390, 844)
    assert browser.console() == []
    assert browser.run("return document.title").startswith("NIMA")
    assert browser.run("return document.scripts.length") == 0
    assert browser.run("return document.documentElement.scrollWidth") == 390
    names = browser.run("return [...document.querySelectorAll('td.name bdi')].map(e => e.textContent)")
    assert "<script>document.title = 'owned'</script>" in names
    assert "{{ record }}{% raw %}" in names
    assert all(len(name) <= 48 and name.isprintable() for name in names)


def test_drawings_have_titles_and_tables_beside_them(browser: Browser, finished: Path) -> None:
    browser.open(finished)
    drawings = "return [...document.querySelectorAll('svg[role=img]')].map(e => e.querySelector('desc').textContent)"
    described = browser.run(drawings)
    assert len(described) == 5
    assert any("a constant prediction gets" in text for text in described)
    ids = browser.run("return [...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))
    counts = browser.run("return [...document.querySelectorAll('table.counts td')].map(e => e.textContent)")
    assert sum(int(count) for count in counts if count) == 10
