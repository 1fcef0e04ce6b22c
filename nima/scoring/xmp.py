"""Writes star ratings into XMP sidecars, as photo managers read and write them.

`xmp:Rating` is −1 (rejected), 0 (unrated) or 1 to 5. Source: Adobe, "XMP Specification", 2012: Part 1, 7.4 for the
syntax of properties, and Part 2, 1.2.4 for the rating. The text of an existing sidecar is edited, so that every other
byte of it stays the same.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from xml.parsers import expat

from nima.errors import NimaError
from nima.safe_io import FileError, read_bounded, write_atomically

SidecarStyle = Literal["darktable", "lightroom"]

_MAX_BYTES = 16 * 1024 * 1024  # largest size of a sidecar; darktable's edits of a photo take some kilobytes
_XMP = "http://ns.adobe.com/xap/1.0/"
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_NEW = f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="{_RDF}">
  <rdf:Description rdf:about=""/>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>
""".encode()
_NAME = re.compile(rb"<([^\s/>]+)")
_ATTRIBUTE = re.compile(rb"""\s+([^\s=]+)\s*=\s*("[^"]*"|'[^']*')""")


class XmpError(NimaError):
    """A sidecar cannot be read or written, or is not XMP that this program understands."""


def sidecar_path(photo: Path, style: SidecarStyle) -> Path:
    """Returns the path of a photo's sidecar in the style of a photo manager.

    "darktable" (also digiKam) gives `photo.jpg.xmp`, "lightroom" (also Capture One) gives `photo.xmp`.

    Example:
        >>> sidecar_path(Path("photo.jpg"), "darktable").name
        'photo.jpg.xmp'
    """
    return photo.with_name(f"{photo.name}.xmp") if style == "darktable" else photo.with_suffix(".xmp")


def write_rating(sidecar: Path, rating: int, overwrite: bool = False, dry_run: bool = False) -> bool:
    """Writes a rating of 1 to 5 into a sidecar, which is made if there is none.

    Args:
        sidecar: path of the sidecar.
        rating: the rating.
        overwrite: True replaces another rating that is there; a rating of 0 is always replaced.
        dry_run: True changes nothing on disk; the result and the errors are the same.

    Returns:
        False if the photo keeps another rating that it has already, else True.

    Raises:
        XmpError: the file is not XMP in UTF-8, or cannot be read or written.
    """
    try:
        before = read_bounded(sidecar, _MAX_BYTES) if sidecar.exists() else _NEW
        after = rated(before, rating, overwrite)
        if after is not None and after != before and not dry_run:
            write_atomically(sidecar, after)
    except (FileError, XmpError) as error:
        raise XmpError(f"{sidecar}: {error}") from error
    except OSError as error:
        raise XmpError(f"{sidecar}: the sidecar cannot be written ({error.strerror}).") from error
    return after is not None


def rated(content: bytes, rating: int, overwrite: bool = False) -> bytes | None:
    """Returns a sidecar's content with the rating; None if it has another rating, which is kept. Raises `XmpError`."""
    found = _find(content)
    value = str(rating).encode()
    if found.rating is not None:
        start, end = found.rating
        kept = content[start:end].strip()
        if kept not in (b"", b"0", value) and not overwrite:
            return None
        return content[:start] + value + content[end:]
    insertion = b' xmlns:xmp="' + _XMP.encode() + b'" xmp:Rating="' + value + b'"'
    if found.prefix is not None:
        insertion = b" " + found.prefix.encode() + b':Rating="' + value + b'"'
    return content[: found.insert_at] + insertion + content[found.insert_at :]


@dataclass
class _Found:
    """Byte positions in a sidecar.

    rating: start and end of the rating's value; None if there is no rating.
    insert_at: position at which a rating can be inserted; None if there is none.
    prefix: prefix of XMP's namespace at this position; None if there is none.
    """

    rating: tuple[int, int] | None = None
    insert_at: int | None = None
    prefix: str | None = None


def _find(content: bytes) -> _Found:
    found = _Found()
    prefixes: list[tuple[str, str]] = []  # the prefixes that are declared at the present position, with their URIs
    path: list[str] = []
    parser = expat.ParserCreate("utf-8", " ")

    def begin_prefix(prefix: str | None, uri: str | None) -> None:
        prefixes.append((prefix or "", uri or ""))

    def begin(name: str, attributes: dict[str, str]) -> None:
        path.append(name)
        start = parser.CurrentByteIndex
        in_force = dict(prefixes)
        if name == f"{_RDF} Description" and path[-2:-1] == [f"{_RDF} RDF"]:
            tag = _NAME.match(content, start)
            assert tag is not None
            if found.insert_at is None:
                found.insert_at = tag.end()
                # If another namespace has the usual prefix here, an insertion would declare that prefix a second time,
                # which is an error in XML. So a prefix that is bound to XMP's namespace is used first.
                found.prefix = next((p for p, uri in in_force.items() if uri == _XMP and p), None)
                if found.prefix is None and "xmp" in in_force:
                    raise XmpError("the prefix xmp is not that of XMP here, so that no rating can be added.")
            position = tag.end()
            while attribute := _ATTRIBUTE.match(content, position):
                prefix, _, local = attribute[1].decode().rpartition(":")
                if local == "Rating" and in_force.get(prefix) == _XMP:
                    found.rating = (attribute.start(2) + 1, attribute.end(2) - 1)
                position = attribute.end()
        elif name == f"{_XMP} Rating" and path[-2:-1] == [f"{_RDF} Description"]:
            end_of_tag = content.index(b">", start)
            if content[end_of_tag - 1 : end_of_tag] == b"/":
                raise XmpError("its rating is written in a way that this program does not know.")
            found.rating = (end_of_tag + 1, content.index(b"<", end_of_tag))

    def end(name: str) -> None:
        path.pop()

    def refuse(*_: object) -> None:
        raise XmpError("it declares a document type, which no sidecar needs.")

    parser.StartNamespaceDeclHandler = begin_prefix
    parser.EndNamespaceDeclHandler = lambda prefix: prefixes.pop()
    parser.StartElementHandler, parser.EndElementHandler = begin, end
    parser.StartDoctypeDeclHandler = refuse  # this also refuses entities that grow without end
    try:
        content.decode()
        parser.Parse(content, True)
    except (expat.ExpatError, ValueError) as error:
        raise XmpError(f"this is no XMP in UTF-8 ({error}).") from error
    if found.insert_at is None:
        raise XmpError("this is no XMP: it has no rdf:Description.")
    return found
