"""Ratings in sidecars: read as photo managers write them; nothing else in the file is changed."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nima.scoring.xmp import XmpError, rated, sidecar_path, write_rating

RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
RATING = "{http://ns.adobe.com/xap/1.0/}Rating"

DARKTABLE = """<?xml version="1.0" encoding="UTF-8"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="XMP Core 4.4.0-Exiv2">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <!-- made by hand -->
  <rdf:Description rdf:about=""
    xmlns:xmp="http://ns.adobe.com/xap/1.0/"
    xmlns:dc="http://purl.org/dc/elements/1.1/"
    dc:format="a > b, xmp:Rating='5'"
   xmp:Rating="{}">
   <dc:title><rdf:Alt><rdf:li xml:lang="x-default">Überfahrt</rdf:li></rdf:Alt></dc:title>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
"""
ELEMENT = """<x:xmpmeta xmlns:x="adobe:ns:meta/" xmlns:xap="http://ns.adobe.com/xap/1.0/">
<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Make="x"/>
<rdf:Description rdf:about=""><xap:Rating>{}</xap:Rating></rdf:Description>
</rdf:RDF></x:xmpmeta>"""


def rating_in(content: bytes) -> str | None:
    """Returns the rating as an ordinary XML parser reads it."""
    ratings = [
        description.get(RATING) or description.findtext(RATING)
        for description in ElementTree.fromstring(content).iter(f"{RDF}Description")
    ]
    found = [rating for rating in ratings if rating is not None]
    assert len(found) <= 1
    return found[0] if found else None


@pytest.mark.parametrize("sidecar", [DARKTABLE, ELEMENT])
@pytest.mark.parametrize("before", ["-1", "1", "3"])
def test_a_persons_rating_stays_unless_it_is_to_be_replaced(sidecar: str, before: str) -> None:
    content = sidecar.format(before).encode()
    assert rated(content, 4) is None
    assert rated(content, 4, overwrite=True) == sidecar.format(4).encode()


@pytest.mark.parametrize("sidecar", [DARKTABLE, ELEMENT])
def test_unrated_is_rated_and_nothing_else_changes(sidecar: str) -> None:
    assert rated(sidecar.format(0).encode(), 5) == sidecar.format(5).encode()


@pytest.mark.parametrize(
    "sidecar",
    [
        DARKTABLE.replace('\n   xmp:Rating="{}"', ""),
        ELEMENT.replace("<xap:Rating>{}</xap:Rating>", ""),
        ELEMENT.replace("<xap:Rating>{}</xap:Rating>", "").replace(' xmlns:xap="http://ns.adobe.com/xap/1.0/"', ""),
    ],
)
def test_a_sidecar_without_a_rating_gets_one(sidecar: str) -> None:
    content = sidecar.encode()
    after = rated(content, 2)
    assert after is not None
    assert rating_in(after) == "2"
    assert rated(after, 3) is None
    added = len(after) - len(content)
    assert any(after[:i] + after[i + added :] == content for i in range(len(content)))


def test_sidecars_lie_where_each_program_looks() -> None:
    assert sidecar_path(Path("a/IMG.CR2"), "darktable") == Path("a/IMG.CR2.xmp")
    assert sidecar_path(Path("a/IMG.CR2"), "lightroom") == Path("a/IMG.xmp")


def test_a_new_sidecar_is_xmp_with_the_rating(tmp_path: Path) -> None:
    sidecar = tmp_path / "photo.jpg.xmp"
    assert write_rating(sidecar, 3, dry_run=True)
    assert not sidecar.exists()
    assert write_rating(sidecar, 3)
    assert rating_in(sidecar.read_bytes()) == "3"
    assert not write_rating(sidecar, 4)
    assert rating_in(sidecar.read_bytes()) == "3"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no xml",
        b"<a/>",
        DARKTABLE.format(0).encode("utf-16"),
        b'<!DOCTYPE a [<!ENTITY b "bb">]><a>&b;</a>',
        DARKTABLE.format(0).replace("ns.adobe.com/xap/1.0/", "example.org/").encode(),
    ],
)
def test_what_is_no_sidecar_is_one_error_and_stays(content: bytes, tmp_path: Path) -> None:
    sidecar = tmp_path / "photo.xmp"
    sidecar.write_bytes(content)
    with pytest.raises(XmpError, match=r"photo\.xmp"):
        write_rating(sidecar, 3)
    assert sidecar.read_bytes() == content


@given(st.binary(max_size=40), st.integers(0, len(DARKTABLE)), st.integers(0, 40))
def test_a_damaged_sidecar_is_an_error_or_still_xml(inserted: bytes, at: int, removed: int) -> None:
    content = DARKTABLE.format(0).encode()
    try:
        after = rated(content[:at] + inserted + content[at + removed :], 4)
    except XmpError:
        return
    if after is not None:
        assert rating_in(after) == "4"
