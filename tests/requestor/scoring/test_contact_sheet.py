"""The contact sheet: how a browser shows it, and that it contains all scores."""

from __future__ import annotations

import html
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
from browser import Browser
from click.testing import CliRunner, Result
from drawn_photos import picture
from spread_model import save_spread_model

from nima.photos.appearance import Appearance, thumbnail_of
from nima.scoring.score import Group, Score
from requestor.commands.main import main
from requestor.errors import ConfigurationError
from requestor.scoring.sheet import contact_sheet

EVIL = "<img src=x onerror=alert(1)> \"quoted\" 'too' & 50%#?.jpg"
PHOTOS = [  # path, rating, time, group
    ("c.jpg", 6, datetime(2024, 5, 1, 12, 0), Group(1, 2, True)),
    (f"holiday/{EVIL}", 9, None, Group(2, 1, True)),
    ("a10.jpg", 5, datetime(2024, 5, 1, 11, 0), Group(1, 2, False)),
    ("a9.jpg", 4, datetime(2024, 5, 1, 13, 0), Group(3, 1, True)),
]


def score_of(path: str, rating: int, taken: datetime | None = None, group: Group | None = None) -> Score:
    looks = Appearance(0, taken, thumbnail_of(picture(rating, 320, 200)))
    votes = np.eye(10)[rating - 1] * 0.8 + 0.02
    score = Score.of(path, votes, "model@0", 320, 200, looks)
    return Score(**{**vars(score), "group": group})


def write(path: Path, scores: list[Score]) -> None:
    with contact_sheet(path) as sheet:
        list(sheet.written(list(sheet.thumbnails_kept(scores))))


@pytest.fixture
def sheet(tmp_path: Path) -> Path:
    """Writes a sheet of four photos and two failures, in the folder of its photos."""
    scores = [score_of(str(tmp_path / path), *rest) for path, *rest in PHOTOS]
    failures = [Score.failed(f"{name}.jpg", "model@0", f"{name}.jpg: <b>broken</b>.") for name in "xy"]
    write(tmp_path / "sheet.html", [*scores[:2], *failures, *scores[2:]])
    return tmp_path / "sheet.html"


def shown(browser: Browser) -> list[str]:
    names = browser.run("return [...document.querySelectorAll('li:not([hidden]) .name')].map(name => name.title)")
    return [Path(name).name for name in names]


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize(("width", "height"), [(390, 844), (1280, 900)])
def test_it_shows_all_photos_on_phones_and_desktops(
    width: int, height: int, dark: bool, sheet: Path, browser: Browser
) -> None:
    browser.open(sheet, width, height, dark)
    assert shown(browser) == ["c.jpg", EVIL, "a10.jpg", "a9.jpg"]
    assert browser.wait_for("[...document.querySelectorAll('li img')].every(image => image.naturalWidth === 320)")
    assert browser.run("return document.documentElement.scrollWidth") == width
    visible = browser.run("return getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", visible))) < 3 * 128) == dark
    assert browser.run("return document.querySelectorAll('script[src], link, iframe, object').length") == 0
    assert browser.run("return performance.getEntriesByType('resource').map(one => one.name.slice(0, 5))") in (
        [],
        ["data:"] * 4,
    )
    assert browser.run("return document.querySelector('details').textContent").count("<b>broken</b>") == 2
    assert browser.console() == []


def test_only_the_scripts_and_styles_of_the_page_itself_may_run(sheet: Path, browser: Browser) -> None:
    page = sheet.read_text()
    policy = html.unescape(re.findall(r'Content-Security-Policy" content="(.*?)"', page)[0])
    assert "unsafe" not in policy
    assert ' style="' not in page
    injected = "<script>document.title = 'owned'</script><style>body { display: none; }</style></html>"
    sheet.write_text(page.replace("</html>", injected))
    browser.open(sheet)
    assert browser.run("return [document.title, getComputedStyle(document.body).display]") == ["Contact sheet", "block"]
    assert len(browser.console()) == 2


def test_it_sorts_and_filters(sheet: Path, browser: Browser) -> None:
    def choose(element: str, value: object, event: str) -> list[str]:
        script = """
            const [id, value, event] = arguments, element = document.getElementById(id);
            element[typeof value === "boolean" ? "checked" : "value"] = value;
            element.dispatchEvent(new Event(event));"""
        browser.run(script, element, value, event)
        return shown(browser)

    browser.open(sheet)
    assert choose("order", "score", "change") == [EVIL, "c.jpg", "a10.jpg", "a9.jpg"]
    assert choose("order", "name", "change") == ["a9.jpg", "a10.jpg", "c.jpg", EVIL]
    assert choose("order", "taken", "change") == ["a10.jpg", "c.jpg", "a9.jpg", EVIL]
    assert choose("order", "listed", "change") == ["c.jpg", EVIL, "a10.jpg", "a9.jpg"]
    assert choose("best", True, "input") == ["c.jpg", EVIL, "a9.jpg"]
    assert browser.run("return document.getElementById('count').textContent") == "3 of 4 photos"
    assert choose("best", False, "input") == ["c.jpg", EVIL, "a10.jpg", "a9.jpg"]
    assert choose("search", "A1", "input") == ["a10.jpg"]
    assert choose("search", "nowhere", "input") == []
    assert browser.run("return document.getElementById('none').hidden") is False
    assert choose("search", "", "input") == ["c.jpg", EVIL, "a10.jpg", "a9.jpg"]
    assert choose("least", "5.5", "input") == ["c.jpg", EVIL]


def visible(element: str, browser: Browser) -> bool:
    return bool(browser.run("return document.getElementById(arguments[0]).checkVisibility()", element))


def test_without_groups_it_does_not_speak_of_them(tmp_path: Path, browser: Browser) -> None:
    write(tmp_path / "sheet.html", [score_of("a.jpg", 5), score_of("b.jpg", 6)])
    browser.open(tmp_path / "sheet.html")
    assert not visible("grouped", browser)
    assert not visible("all", browser)
    assert browser.run("return document.querySelector('mark')") is None


def test_a_group_can_be_looked_at_alone(sheet: Path, browser: Browser) -> None:
    browser.open(sheet)
    assert visible("grouped", browser)
    browser.run("document.querySelector('mark').click()")
    assert shown(browser) == ["c.jpg", "a10.jpg"]
    browser.run("document.getElementById('all').click()")
    assert len(shown(browser)) == 4
    browser.run("document.querySelectorAll('li a')[2].click(); document.querySelector('#says button').click()")
    assert shown(browser) == ["c.jpg", "a10.jpg"]
    assert browser.run("return document.getElementById('details').open") is False


def test_a_photo_opens_with_its_figures_and_leads_to_the_file(sheet: Path, browser: Browser) -> None:
    browser.open(sheet)
    browser.run("document.querySelectorAll('li a')[1].click()")
    assert browser.run("return document.getElementById('details').open") is True
    assert browser.run("return document.getElementById('title').textContent").endswith(EVIL)
    assert "8.30" in browser.run("return document.getElementById('says').textContent")
    link = browser.run("return document.getElementById('original').href")
    assert unquote(urlsplit(link).path) == str(sheet.parent / "holiday" / EVIL)
    key = "document.getElementById('details').dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowRight'}))"
    browser.run(key)
    assert browser.run("return document.getElementById('title').textContent").endswith("a10.jpg")
    assert browser.console() == []


def test_scores_pass_one_by_one_and_leave_their_thumbnails_behind(tmp_path: Path) -> None:
    asked = []

    def scores() -> Iterator[Score]:
        for rating in (5, 6, 7):
            asked.append(rating)
            yield score_of(f"{rating}.jpg", rating)

    with contact_sheet(tmp_path / "sheet.html") as sheet:
        passed = sheet.written(sheet.thumbnails_kept(scores()))
        for rating in (5, 6, 7):
            looks = next(passed).appearance
            assert looks is not None
            assert looks.thumbnail is None
            assert asked[-1] == rating
        assert next(passed, None) is None
    assert (tmp_path / "sheet.html").read_text(encoding="utf-8").count("data:image/webp") == 3


def test_a_name_that_is_no_unicode_leads_to_its_file(tmp_path: Path) -> None:
    odd = os.fsdecode(b"\xff.jpg")
    write(tmp_path / "sheet.html", [score_of(str(tmp_path / odd), 5)])
    assert 'href="./%FF.jpg"' in (tmp_path / "sheet.html").read_text(encoding="utf-8")


def test_only_a_contact_sheet_is_replaced(tmp_path: Path) -> None:
    theirs = tmp_path / "index.html"
    theirs.write_text("<!doctype html>\n<p>mine")
    with pytest.raises(ConfigurationError, match=r"index\.html is there and is no contact sheet"):
        write(theirs, [score_of("a.jpg", 5)])
    assert theirs.read_text() == "<!doctype html>\n<p>mine"
    ours = tmp_path / "sheet.html"
    write(ours, [score_of("a.jpg", 5)])
    (tmp_path / "link.html").symlink_to(ours)
    write(tmp_path / "link.html", [score_of("b.jpg", 5)])
    assert "b.jpg" in ours.read_text(encoding="utf-8")
    assert {path.name for path in tmp_path.iterdir()} == {"index.html", "sheet.html", "link.html"}


def test_what_goes_wrong_leaves_the_sheet_that_is_there(tmp_path: Path) -> None:
    path = tmp_path / "sheet.html"
    write(path, [score_of("a.jpg", 5)])
    before = path.read_bytes()

    def stopped() -> Iterator[Score]:
        yield score_of("b.jpg", 5)
        raise KeyboardInterrupt

    with ExitStack() as stack, pytest.raises(KeyboardInterrupt):
        list(stack.enter_context(contact_sheet(path)).thumbnails_kept(stopped()))
    write(path, [Score.failed("c.jpg", "model@0", "c.jpg: broken.")])
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be written"):
        write(tmp_path / "nowhere" / "sheet.html", [])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for seed in range(4):
        picture(seed).save(folder / f"{seed}.jpg")
    save_spread_model(folder / "model.safetensors")
    return folder


def score(folder: Path, *arguments: str | Path) -> Result:
    model = ("--model", folder / "model.safetensors")
    return CliRunner().invoke(main, ["score", *map(str, (folder, *model, *arguments)), "--format", "csv"])


def test_the_command_writes_the_photos_that_it_chose(folder: Path, tmp_path: Path, browser: Browser) -> None:
    path = tmp_path / "sheet.html"
    dry = score(folder, "--html", path, "--dry-run")
    assert dry.exit_code == 0
    assert f"would write {path}\n" in dry.stderr
    assert not path.exists()
    result = score(folder, "--html", path, "--top", "3", "--sort", "score", "--cache", tmp_path / "cache")
    assert result.exit_code == 0
    rows = [line.split(",")[:2] for line in result.stdout.splitlines()[1:]]
    browser.open(path)
    assert shown(browser) == [Path(photo).name for photo, _ in rows]
    figures = browser.run("return [...document.querySelectorAll('.figures b')].map(figure => figure.textContent)")
    assert figures == [f"{float(rating):.2f}" for _, rating in rows]
    first = path.read_bytes()
    assert score(folder, "--html", path, "--top", "3", "--sort", "score", "--cache", tmp_path / "cache") is not None
    assert path.read_bytes() == first


def test_a_sheet_without_photos_is_not_written_and_two_files_of_one_name_are_not_either(
    folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "sheet.html"
    empty = score(folder, "--html", path, "--min-score", "10")
    assert (empty.exit_code, path.exists()) == (0, False)
    assert f"{path} was not written" in empty.stderr
    same = score(folder, "--html", path, "--output", path)
    assert (same.exit_code, path.exists()) == (2, False)


@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
def test_the_command_says_at_once_that_it_will_not_replace_a_file(
    dry: tuple[str, ...], folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "photo.jpg"
    path.write_text("mine")
    result = score(folder, "--html", path, *dry)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "no contact sheet" in result.stderr
    assert path.read_text() == "mine"


def test_cards_show_percentile_and_spread_and_folders_are_summed_up(tmp_path: Path, browser: Browser) -> None:
    paths = {"a/1.jpg": 4, "a/2.jpg": 8, "b/<i>/3.jpg": 6}
    write(tmp_path / "sheet.html", [score_of(path, rating) for path, rating in paths.items()])
    browser.open(tmp_path / "sheet.html")
    ranks = browser.run("return [...document.querySelectorAll('.rank')].map(one => one.textContent)")
    first = score_of("a/1.jpg", 4)
    assert ranks[0] == f"above {first.percentile:.0f}% · ±{first.std:.2f}"
    assert len(set(ranks)) == 3
    rows = (
        "return [...document.querySelectorAll('#folders tr')].map(row => [...row.children].map(one => one.textContent))"
    )
    scores = {path: score_of(path, rating).aesthetic_score or 0 for path, rating in paths.items()}
    mean = (scores["a/1.jpg"] + scores["a/2.jpg"]) / 2
    assert [[cell.strip() for cell in row] for row in browser.run(rows)][1:] == [
        ["a", "2", f"{mean:.2f}", f"{scores['a/2.jpg']:.2f}"],
        ["b/<i>", "1", f"{scores['b/<i>/3.jpg']:.2f}", f"{scores['b/<i>/3.jpg']:.2f}"],
    ]
    assert browser.console() == []
