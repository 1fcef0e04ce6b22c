"""Writes ratings into photos with exiftool, which changes the metadata of a file and none of its pixels.

exiftool (Phil Harvey, https://exiftool.org) gets no name of a file, which could hold an option or a code, but the photo
on stdin, and gives the new one on stdout.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from nima.safe_io import atomic_file, one_line
from nima.xmp.embedded import properties_of, ratings_of
from nima.xmp.packet import XmpError

EMBEDDABLE = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".tif", ".tiff", ".png", ".heic", ".heif", ".hif", ".dng"})
"""Suffixes of the photos into which ratings are written, in lower case."""

_SECONDS = 120  # that exiftool may take for one photo; a hostile one could keep it busy for ever
_MAX_MESSAGE = 300  # characters


def find_exiftool() -> str:
    """Returns the path of exiftool. Raises `XmpError` if it is not installed."""
    path = shutil.which("exiftool")
    if path is None:
        raise XmpError(
            "Ratings are written into photos by exiftool, which is not installed. Install it (Debian: "
            "libimage-exiftool-perl; macOS: brew install exiftool), or write sidecars."
        )
    return path


def check_embeddable(photo: Path) -> None:
    """Raises `XmpError` if no rating can be written into a photo: by its format, or because its folder is not writable.

    A file that is replaced needs a folder in which a new one can be made.
    """
    if photo.suffix.lower() not in EMBEDDABLE:
        raise XmpError("ratings are written into JPEG, TIFF, PNG, HEIC and DNG only. Write a sidecar for this photo.")
    if not os.access(photo.resolve().parent, os.W_OK | os.X_OK):
        raise XmpError("its folder is not writable. Change its permissions.")


def embed_rating(photo: Path, rating: int, label: str | None = None) -> None:
    """Writes a rating, −1 or 1 to 5, and a colour label if there is one, into the XMP of a photo.

    The photo is replaced by a complete file, or stays as it is; its permissions stay, and so do links to it by name. An
    older rating in EXIF is removed, so that only one is left.

    Raises:
        XmpError: exiftool is missing, does not understand the photo, or takes more than 120 seconds; or the photo's
            format is not one of `EMBEDDABLE`, it changes meanwhile, or it cannot be written.
    """
    check_embeddable(photo)
    removed = ["-IFD0:Rating=", "-IFD0:RatingPercent=", "-XMP-microsoft:RatingPercent="]
    written = [f"-XMP-xmp:Rating={rating}", *([] if label is None else [f"-XMP-xmp:Label={label}"])]
    # The first option keeps away a file with settings; the second puts a PNG's XMP where readers find it at once.
    command = [find_exiftool(), "-config", "", "-api", "PNGEarlyXMP", *removed, *written, "-o", "-", "-"]
    target = photo.resolve()
    try:
        with target.open("rb") as source, tempfile.TemporaryFile() as messages, atomic_file(target) as copy:
            before = os.fstat(source.fileno())
            done = subprocess.run(
                command, stdin=source, stdout=copy, stderr=messages, timeout=_SECONDS, check=False, env=_environment()
            )
            copy.seek(0)
            if done.returncode or properties_of(copy).rating != rating:
                messages.seek(0)
                text = messages.read(_MAX_MESSAGE).decode(errors="replace")
                raise XmpError(
                    f"exiftool cannot write into this photo ({one_line(text).strip() or 'no reason given'})."
                )
            if ratings_of(copy) != [str(rating)]:  # such as XMP behind the end of a JPEG, which exiftool leaves
                raise XmpError("it has a rating at an unusual place, which would contradict this one. Write a sidecar.")
            now = target.stat()
            if (before.st_size, before.st_mtime_ns) != (now.st_size, now.st_mtime_ns):
                raise XmpError("another program has changed the photo meanwhile. Run the command again.")
    except subprocess.TimeoutExpired as error:
        raise XmpError(f"exiftool takes more than {_SECONDS} seconds for this photo.") from error
    except OSError as error:
        raise XmpError(f"the photo cannot be written ({error.strerror}).") from error


def _environment() -> dict[str, str]:
    """Returns an environment without settings for perl, in which messages are English."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PERL")}
    return {**kept, "LC_ALL": "C"}
