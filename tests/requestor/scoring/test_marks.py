"""Marks of a contact sheet: given by keys and touch, handed back as a list, read strictly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import Browser
from drawn_photos import picture

from nima.photos.appearance import Appearance, thumbnail_of
from nima.scoring.score import Score
from requestor.errors import ConfigurationError
from requestor.scoring.marks import FORMAT, Mark, read_marks
from requestor.scoring.sheet import contact_sheet

EVIL = "<img src=x onerror=alert(1)> \"quoted\" 'too' & 50%.jpg"
KEY = "document.{}.dispatchEvent(new KeyboardEvent('keydown', {{key: '{}', bubbles: true}}))"


@pytest.fixture
def sheet(tmp_path: Path) -> Path:
    path = tmp_path / "sheet.html"
    with contact_sheet(path) as written:
        scores = [
            Score.of(name, np.full(10, 0.1), "model@0", 32, 20, Appearance(0, None, thumbnail_of(picture(1, 32, 20))))
            for name in ("a.jpg", EVIL, "c.jpg")
        ]
        assert len(list(written.written(list(written.thumbnails_kept(scores))))) == 3
    return path


def read_back(browser: Browser, path: Path) -> list[Mark]:
    path.write_text(browser.run("return listOfMarks()"), encoding="utf-8")
    return read_marks(path)


def test_stars_are_set_by_keys_and_touch_counted_and_read_back(sheet: Path, browser: Browser, tmp_path: Path) -> None:
    browser.open(sheet, width=390, height=844)
    assert browser.run("return document.getElementById('marked').hidden") is True
    browser.run(KEY.format("querySelectorAll('li a')[0]", "4"))
    browser.run("document.querySelectorAll('li a')[1].click()")
    browser.run("document.querySelector('#rate [data-stars=\"5\"]').click()")
    assert browser.run("return document.querySelector('#rate [data-stars=\"5\"]').textContent") == "★"
    browser.run(KEY.format("getElementById('details')", "ArrowRight"))
    browser.run(KEY.format("getElementById('details')", "x"))
    assert browser.run("return document.getElementById('marks').value") == "2 rated, 1 rejected"
    assert read_back(browser, tmp_path / "marks.json") == [Mark("a.jpg", 4), Mark(EVIL, 5), Mark("c.jpg", -1)]
    browser.run(KEY.format("getElementById('details')", "0"))
    browser.open(sheet)  # as after a break: the browser has kept the marks
    assert read_back(browser, tmp_path / "marks.json") == [Mark("a.jpg", 4), Mark(EVIL, 5)]
    badges = "return [...document.querySelectorAll('.given')].map(one => one.textContent)"
    assert browser.run(badges) == ["★★★★", "★★★★★"]
    assert browser.run("return document.documentElement.scrollWidth") == 1280
    assert browser.console() == []


def test_the_list_is_saved_as_a_file(sheet: Path, browser: Browser) -> None:
    browser.open(sheet)
    browser.run(KEY.format("querySelectorAll('li a')[0]", "3"))
    browser.run(
        "window.saved = []; HTMLAnchorElement.prototype.click = function () { saved.push(this.download); };"
        "document.getElementById('save').click()"
    )
    assert browser.run("return saved") == ["marks.json"]
    assert browser.console() == []


def listed(marks: Any, **more: Any) -> str:
    return json.dumps({"format": FORMAT, "marks": marks, **more})


GOOD = {"path": "a.jpg", "stars": 3}


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "{", "null", "{}", '{"format": "other", "marks": []}', listed([GOOD], more=1), listed({}),
        listed([1]), listed([{"path": "a.jpg"}]), listed([GOOD | {"x": 1}]), listed([GOOD, GOOD]),
        listed([{"path": "", "stars": 3}]), listed([GOOD | {"path": "a" * 5000}]), listed([GOOD | {"path": 1}]),
        *(listed([{"path": "a.jpg", "stars": stars}]) for stars in (-2, 6, 2.5, True, "3", None)),
        listed([GOOD]).replace("3", "NaN"), listed([GOOD]).replace('"stars": 3', '"stars": 3, "stars": 4'),
        "[" * 100_000,
        listed([{"path": str(index), "stars": 1} for index in range(100_001)]),
    ],
)  # fmt: skip
def test_what_is_no_list_of_marks_is_refused_in_one_line(text: str, tmp_path: Path) -> None:
    path = tmp_path / "marks.json"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=r"marks\.json is no list of marks") as caught:
        read_marks(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_files_that_are_missing_or_too_large_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "marks.json"
    with pytest.raises(ConfigurationError, match="cannot be used"):
        read_marks(path)
    with path.open("wb") as file:
        file.truncate(17 * 1024 * 1024)
    with pytest.raises(ConfigurationError, match=r"marks\.json"):
        read_marks(path)
