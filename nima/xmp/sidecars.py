"""Finds, reads and writes the XMP sidecars of photos, as photo managers name them."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from nima.photos import PHOTO_SUFFIXES, RAW_SUFFIXES
from nima.safe_io import FileError, read_bounded, write_atomically
from nima.xmp.packet import NEW_XMP, XmpError

SidecarStyle = Literal["darktable", "lightroom"]

_MAX_BYTES = 16 * 1024 * 1024  # largest size of a sidecar; darktable's edits of a photo take some kilobytes


def sidecar_path(photo: Path, style: SidecarStyle) -> Path:
    """Returns the path of a photo's sidecar in the style of a photo manager.

    "darktable" (also digiKam) gives `photo.jpg.xmp`, "lightroom" (also Capture One) gives `photo.xmp`.

    Example:
        >>> sidecar_path(Path("photo.jpg"), "darktable").name
        'photo.jpg.xmp'
    """
    return photo.with_name(f"{photo.name}.xmp") if style == "darktable" else photo.with_suffix(".xmp")


def read_sidecar(sidecar: Path) -> bytes | None:
    """Returns the content of a sidecar, or of the file that it links to; None if there is none.

    Raises `XmpError` if it cannot be read or is larger than 16 MiB.
    """
    try:
        target = sidecar.resolve()
        return read_bounded(target, _MAX_BYTES) if os.path.lexists(target) else None
    except FileError as error:
        raise XmpError(f"the sidecar cannot be used: {error}") from error
    except (OSError, RuntimeError) as error:  # a circle of links is an OSError or a RuntimeError
        reason = error.strerror if isinstance(error, OSError) else error
        raise XmpError(f"the sidecar cannot be read ({reason}).") from error


def write_sidecar(sidecar: Path, content: bytes, dry_run: bool = False) -> None:
    """Replaces a sidecar, and keeps its permissions; a symbolic link stays, and the file that it links to is replaced.

    Raises `XmpError` if it cannot be written. With `dry_run`, nothing changes on the disk, and the errors are the same,
    as far as permissions tell.
    """
    try:
        target = sidecar.resolve()
        if not dry_run:
            write_atomically(target, content)
        elif not os.access(target.parent, os.W_OK | os.X_OK):
            raise PermissionError(None, "its folder does not exist or is not writable")
    except (OSError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise XmpError(f"the sidecar cannot be written ({reason}).") from error


def new_or(content: bytes | None) -> bytes:
    """Returns the content of a sidecar, or XMP without any property if there is no sidecar."""
    return NEW_XMP if content is None else content


@dataclass
class SidecarOwners:
    """Knows which of several photos a sidecar belongs to, if its name would suit all of them: `P1.jpg`, `P1.CR3`.

    Lightroom reads sidecars of RAW files only. So the one RAW file among the photos owns the sidecar; if there is none,
    or there are several, nobody does. The listing of the latest folder is kept, and not read again.
    """

    _folder: Path | None = None
    _photos: dict[str, list[str]] = field(default_factory=dict)  # the name without its suffix → the photos' names

    def rivals(self, photo: Path) -> list[str]:
        """Returns the names of other photos that have the same sidecar in the style of Lightroom, sorted."""
        if photo.parent != self._folder:
            self._folder, self._photos = photo.parent, {}
            with os.scandir(photo.parent) as entries:
                for name in sorted(entry.name for entry in entries):
                    if Path(name).suffix.lower() in PHOTO_SUFFIXES:
                        self._photos.setdefault(Path(name).stem, []).append(name)
        return [name for name in self._photos.get(photo.stem, []) if name != photo.name]

    def owner(self, photo: Path) -> str | None:
        """Returns the name of the photo that owns the sidecar in Lightroom's style of `photo`; None if nobody does."""
        photos = [photo.name, *self.rivals(photo)]
        raw = [name for name in photos if Path(name).suffix.lower() in RAW_SUFFIXES]
        if len(photos) == 1:
            return photo.name
        return raw[0] if len(raw) == 1 else None
