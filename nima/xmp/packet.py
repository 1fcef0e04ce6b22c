"""Reads and edits single properties in the text of XMP, whatever way they are written in.

Source: Adobe, "XMP Specification", 2012: Part 1, 7.4 for the syntax of properties (an attribute or an element of a
top-level `rdf:Description`), and Part 2, 1.2.4 for the namespace. The text is edited, so that every other byte of it
stays the same. It may come from anyone: it cannot declare entities, and the effort grows with its length alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from xml.parsers import expat
from xml.sax.saxutils import escape

from nima.errors import NimaError

_XMP = "http://ns.adobe.com/xap/1.0/"
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_DESCRIPTION = (f"{_RDF} RDF", f"{_RDF} Description")

NEW_XMP = f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="{_RDF}">
  <rdf:Description rdf:about=""/>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>
""".encode()
"""XMP without any property."""

_NAME = re.compile(rb"<([^\s/>]+)")
_ATTRIBUTE = re.compile(rb"""\s+([^\s=]+)\s*=\s*("[^"]*"|'[^']*')""")
_NUMBER = re.compile(r"[+-]?[0-9]{1,9}(\.[0-9]{0,9})?")
_LONGEST_VALUE = 1000  # characters that are read of an element; ratings and labels are shorter
_PREFIXES = ("xmp", "xap", "xmp1", "xmp2", "xmp3")  # the first that is free is declared where a property is added


class XmpError(NimaError):
    """A text is not XMP that this program understands; or a file with it cannot be read or written."""


def rating_in(content: bytes) -> int | None:
    """Returns the rating in XMP: −1 (rejected) or 1 to 5; None for none or 0. Of several, the first such one counts.

    Raises `XmpError` if the text is no XMP in UTF-8, or a rating is no number.

    Example:
        >>> rating_in(with_property(NEW_XMP, "Rating", "4"))
        4
        >>> rating_in(NEW_XMP) is None
        True
    """
    return next((rating for text in property_values(content, "Rating") if (rating := _number(text))), None)


def label_in(content: bytes) -> str | None:
    """Returns the colour label in XMP, such as "Red"; None for none. Raises `XmpError` if it is no XMP in UTF-8."""
    return next((label for text in property_values(content, "Label") if (label := text.strip())), None)


def property_values(content: bytes, name: str) -> list[str]:
    """Returns the texts of all properties of this name in XMP's own namespace; a valid file has one at most.

    Raises `XmpError` if the text is no XMP in UTF-8.
    """
    return [place.value for place in _Reader(content, name).places]


def with_property(content: bytes, name: str, value: str) -> bytes:
    """Returns the text of XMP with one property of this name in XMP's own namespace, which has this value.

    The first one that is there is changed, others are removed; if there is none, the first description gets it.

    Raises `XmpError` if the text is no XMP in UTF-8, or has the property in a structure.
    """
    read = _Reader(content, name)
    text = escape(value, {'"': "&quot;", "'": "&apos;"}).encode()
    if not read.places:
        return content[: read.insert_at] + read.insertion(text) + content[read.insert_at :]
    if any(place.structured for place in read.places):
        raise XmpError(f"its {name} is a structure, which this program does not change.")
    first, *others = read.places
    pieces, position = [content[: first.start], first.written(content, text)], first.end
    for place in others:
        pieces.append(content[position : place.start])
        position = place.end
    return b"".join([*pieces, content[position:]])


def _number(text: str) -> int:
    text = text.strip()
    if text and not _NUMBER.fullmatch(text):
        raise XmpError("its rating is no number.")
    return int(float(text or 0))


@dataclass
class _Place:
    """A property in the text.

    start, end: the bytes of the attribute with the space before it, or of the element.
    inner: the bytes of its value; None for an element without content (`<xmp:Rating/>`).
    name: its name as it is written, with the prefix.
    value: the value, as a parser reads it.
    structured: True if other elements are in it.
    """

    start: int
    end: int
    inner: tuple[int, int] | None
    name: bytes
    value: str = ""
    structured: bool = False

    def written(self, content: bytes, value: bytes) -> bytes:
        """Returns the text of the property with another value, which is escaped for XML."""
        if self.inner is None:
            return b"<" + self.name + b">" + value + b"</" + self.name + b">"
        return content[self.start : self.inner[0]] + value + content[self.inner[1] : self.end]


@dataclass
class _Reader:
    """Finds the places of a property, and the place at which one can be inserted.

    content, name: the text, and the name of the property in XMP's own namespace.
    places: the properties of this name, in the order of the text.
    insert_at: position after the name of the first description.
    prefix: a prefix that means XMP's namespace there; None if there is none.
    free_prefix: a prefix that means nothing there.
    """

    content: bytes
    name: str
    places: list[_Place] = field(default_factory=list)
    insert_at: int = -1
    prefix: str | None = None
    free_prefix: str | None = None
    _path: list[str] = field(default_factory=list)
    _namespaces: dict[str, list[str]] = field(default_factory=dict)  # prefix → its meanings, the innermost last
    _open: _Place | None = None  # the element of the property in which the parser is

    def __post_init__(self) -> None:
        self._parser = expat.ParserCreate("utf-8", " ")
        self._parser.StartNamespaceDeclHandler = self._begin_prefix
        self._parser.EndNamespaceDeclHandler = lambda prefix: self._namespaces[prefix or ""].pop()
        self._parser.StartElementHandler, self._parser.EndElementHandler = self._begin, self._end
        self._parser.CharacterDataHandler = self._text
        self._parser.StartDoctypeDeclHandler = self._refuse  # this also refuses entities that grow without end
        try:
            self.content.decode()
            self._parser.Parse(self.content, True)
        except (expat.ExpatError, ValueError) as error:
            raise XmpError(f"this is no XMP in UTF-8 ({error}).") from error
        if self.insert_at < 0:
            raise XmpError("this is no XMP: it has no rdf:Description.")

    def insertion(self, value: bytes) -> bytes:
        """Returns the property as an attribute for `insert_at`; `value` is escaped for XML."""
        prefix, declaration = self.prefix, ""
        if prefix is None:
            if self.free_prefix is None:
                raise XmpError("the usual prefixes of XMP mean something else here, so that nothing can be added.")
            prefix, declaration = self.free_prefix, f' xmlns:{self.free_prefix}="{_XMP}"'
        return f'{declaration} {prefix}:{self.name}="'.encode() + value + b'"'

    def _meaning(self, prefix: str) -> str | None:
        meanings = self._namespaces.get(prefix)
        return meanings[-1] if meanings else None

    def _begin_prefix(self, prefix: str | None, uri: str | None) -> None:
        self._namespaces.setdefault(prefix or "", []).append(uri or "")

    def _begin(self, name: str, attributes: dict[str, str]) -> None:
        if self._open is not None:
            self._open.structured = True
        self._path.append(name)
        if len(self._path) > 4:
            return
        start = self._parser.CurrentByteIndex
        if tuple(self._path[-2:]) == _DESCRIPTION:
            self._description(start, attributes)
        elif name == f"{_XMP} {self.name}" and tuple(self._path[-3:-1]) == _DESCRIPTION:
            tag = _NAME.match(self.content, start)
            assert tag is not None
            position = tag.end()
            while attribute := _ATTRIBUTE.match(self.content, position):
                position = attribute.end()
            end = self.content.index(b">", position) + 1
            empty = self.content[end - 2 : end] == b"/>"
            self._open = _Place(start, end, None if empty else (end, end), tag[1], structured=bool(attributes))
            self.places.append(self._open)

    def _description(self, start: int, attributes: dict[str, str]) -> None:
        tag = _NAME.match(self.content, start)
        assert tag is not None
        if self.insert_at < 0:
            self.insert_at = tag.end()
            known = [prefix for prefix, uris in self._namespaces.items() if prefix and uris and uris[-1] == _XMP]
            self.prefix = known[0] if known else None
            self.free_prefix = next((prefix for prefix in _PREFIXES if self._meaning(prefix) is None), None)
        value = attributes.get(f"{_XMP} {self.name}")
        position = tag.end()
        while value is not None and (attribute := _ATTRIBUTE.match(self.content, position)):
            prefix, _, local = attribute[1].decode().rpartition(":")
            if local == self.name and prefix and self._meaning(prefix) == _XMP:
                inner = (attribute.start(2) + 1, attribute.end(2) - 1)
                self.places.append(_Place(attribute.start(), attribute.end(), inner, attribute[1], value))
            position = attribute.end()

    def _text(self, text: str) -> None:
        if self._open is not None and len(self._open.value) < _LONGEST_VALUE:
            self._open.value += text

    def _end(self, name: str) -> None:
        self._path.pop()
        place = self._open
        if place is not None and name == f"{_XMP} {self.name}" and tuple(self._path[-2:]) == _DESCRIPTION:
            if place.inner is not None:
                position = self._parser.CurrentByteIndex
                place.inner = (place.inner[0], position)
                place.end = self.content.index(b">", position) + 1
            self._open = None

    def _refuse(self, *_: object) -> None:
        raise XmpError("it declares a document type, which no sidecar needs.")
