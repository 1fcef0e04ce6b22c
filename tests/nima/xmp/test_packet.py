"""The text of XMP: properties are read as photo managers write them, and nothing else in the text is changed."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nima.xmp.packet import NEW_XMP, XmpError, property_values, rating_in, with_property

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


def parsed_ratings(content: bytes) -> list[str]:
    """Returns the ratings as an ordinary XML parser reads them."""
    return [
        rating
        for description in ElementTree.fromstring(content).iter(f"{RDF}Description")
        for rating in (description.get(RATING), *(found.text for found in description.findall(RATING)))
        if rating is not None
    ]


@pytest.mark.parametrize("text", [DARKTABLE, ELEMENT])
@pytest.mark.parametrize(("value", "rating"), [("-1", -1), ("3", 3), (" 4.0 ", 4), ("0", None), ("", None)])
def test_a_rating_is_read_and_replaced_and_nothing_else_changes(text: str, value: str, rating: int | None) -> None:
    content = text.format(value).encode()
    assert rating_in(content) == rating
    assert with_property(content, "Rating", "5") == text.format(5).encode()


@pytest.mark.parametrize(
    "content",
    [
        NEW_XMP.decode(),
        "\ufeff" + ELEMENT.replace("<xap:Rating>{}</xap:Rating>", ""),
        DARKTABLE.replace('\n   xmp:Rating="{}"', ""),
        ELEMENT.replace("<xap:Rating>{}</xap:Rating>", ""),
        ELEMENT.replace("<xap:Rating>{}</xap:Rating>", "").replace(' xmlns:xap="http://ns.adobe.com/xap/1.0/"', ""),
        DARKTABLE.format(0).replace("ns.adobe.com/xap/1.0/", "example.org/"),
    ],
)
def test_xmp_without_a_rating_gets_one(content: str) -> None:
    before = content.encode()
    after = with_property(before, "Rating", "2")
    assert parsed_ratings(after) == ["2"]
    assert rating_in(after) == 2
    added = len(after) - len(before)
    assert any(after[:i] + after[i + added :] == before for i in range(len(before)))


@pytest.mark.parametrize(
    ("inside", "rating"),
    [
        ("<![CDATA[4]]>", 4),
        ("<!-- once 2 -->0", None),
        ("<!-- > -->3<!-- > -->", 3),
        ("&#52;", 4),
        ("<?program 2?>", None),
    ],
)
def test_whatever_stands_in_the_element_one_rating_is_there_afterwards(inside: str, rating: int | None) -> None:
    content = ELEMENT.format(inside).encode()
    assert rating_in(content) == rating
    assert parsed_ratings(with_property(content, "Rating", "5")) == ["5"]


@pytest.mark.parametrize("element", ["<xap:Rating/>", "<xap:Rating />", "<xap:Rating></xap:Rating>", "<xap:Rating\n/>"])
def test_an_empty_element_is_filled(element: str) -> None:
    content = ELEMENT.replace("<xap:Rating>{}</xap:Rating>", element).encode()
    assert rating_in(content) is None
    assert parsed_ratings(with_property(content, "Rating", "5")) == ["5"]


@pytest.mark.parametrize(("first", "second"), [("4", "0"), ("0", "4")])
def test_of_two_descriptions_with_ratings_one_is_left(first: str, second: str) -> None:
    attribute = f'<rdf:Description rdf:about="" xap:Rating="{first}"/>'
    content = ELEMENT.format(second).replace("</rdf:RDF>", f"{attribute}</rdf:RDF>").encode()
    assert rating_in(content) == 4
    assert property_values(content, "Rating") == [second, first]
    after = with_property(content, "Rating", "5")
    assert parsed_ratings(after) == property_values(after, "Rating") == ["5"]


def test_values_are_escaped() -> None:
    after = with_property(NEW_XMP, "Label", "<\"Grün\" & 'Blau'>")
    assert property_values(after, "Label") == ["<\"Grün\" & 'Blau'>"]
    assert property_values(with_property(after, "Label", "&"), "Label") == ["&"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no xml",
        b"<a/>",
        DARKTABLE.format(0).encode("utf-16"),
        b'<!DOCTYPE a [<!ENTITY b "bb">]><a>&b;</a>',
        ELEMENT.format("<rdf:Description><rdf:value>4</rdf:value></rdf:Description>").encode(),
    ],
)
def test_text_that_is_no_xmp_or_is_not_understood_is_one_error(content: bytes) -> None:
    with pytest.raises(XmpError):
        with_property(content, "Rating", "3")


@pytest.mark.parametrize("value", ["five", "1e9", "nan", "9" * 400])
def test_a_rating_that_is_no_number_is_an_error(value: str) -> None:
    with pytest.raises(XmpError, match="no number"):
        rating_in(DARKTABLE.format(value).encode())


def test_the_effort_grows_with_the_length_alone() -> None:
    # Each of these would take hours with an effort that grows with the square of the length.
    deep = "".join(f'<a xmlns:p{number}="{number}">' for number in range(50_000)) + "</a>" * 50_000
    many = '<rdf:Description rdf:about="" xap:Rating="0"/>' * 50_000
    lines = "\n" * 1_000_000
    for content in (ELEMENT.format(0).replace("</rdf:RDF>", f"{deep}{many}</rdf:RDF>"), ELEMENT.format(lines)):
        assert parsed_ratings(with_property(content.encode(), "Rating", "2")) == ["2"]


@pytest.mark.parametrize("text", [DARKTABLE, ELEMENT])
@given(inserted=st.binary(max_size=40), at=st.integers(0, len(DARKTABLE)), removed=st.integers(0, 40))
def test_damaged_xmp_is_an_error_or_still_xml(text: str, inserted: bytes, at: int, removed: int) -> None:
    content = text.format(0).encode()
    try:
        after = with_property(content[:at] + inserted + content[at + removed :], "Rating", "4")
    except XmpError:
        return
    assert parsed_ratings(after) == ["4"]
