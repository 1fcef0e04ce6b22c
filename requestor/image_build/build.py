"""Builds Dockerfile.provider to a container image, and this image to a `.gvmi`.

If nothing has changed since the last build, its result is used again.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from nima.safe_io import atomic_file, cache_folder
from nima.version import VERSION
from nima.wire import PROTOCOL
from requestor.errors import ImageError
from requestor.image import (
    SQUASHFS_COMPRESSION,
    ImageInfo,
    check_image_versions,
    make_squashfs,
    read_image,
    squashfs_version,
    write_image,
)
from requestor.image_build.archive import unpack_archive
from requestor.image_build.builders import Builder, find_builder
from requestor.image_build.wheels import fetch_wheels

DEFAULT_BASE = "docker.io/library/python:3.11-slim-bookworm"
DOCKERFILE = "Dockerfile.provider"
REPOSITORY = Path(__file__).resolve().parents[2]
_SOURCES = ("nima", "provider_image")

Report = Callable[[str], None]
"""Is called with the name of each step when it begins."""


def build_image(output: Path, base: str, models: Sequence[str], report: Report) -> ImageInfo:
    """Builds the provider image of this checkout on the container image `base`, and writes it to `output`.

    `models` are files or names of models to put into the image. Raises ImageError; NimaError if one of them is no
    model.
    """
    if not (REPOSITORY / DOCKERFILE).is_file():
        raise ImageError(
            f"There is no {DOCKERFILE} in {REPOSITORY}: an image is built in a checkout of the repository "
            "(pip install --editable)."
        )
    if not output.parent.is_dir():
        raise ImageError(f"{output} cannot be written: there is no folder {output.parent}.")
    builder, squashfs_maker = find_builder(), squashfs_version()
    report("Fetching packages")
    wheels = fetch_wheels(REPOSITORY / "provider_image" / "requirements.txt")
    with tempfile.TemporaryDirectory(prefix="nima-golem-image-") as scratch:
        context = Path(scratch) / "context"
        gather_sources(context)
        hashes = gather_models(models, context / "models") if models else []
        arguments = {"BASE": base, "VERSION": VERSION, "PROTOCOL": str(PROTOCOL), "MODELS": " ".join(hashes)}
        ingredients = {
            "files": file_hashes(context),
            "wheels": sorted(path.name for path in wheels.iterdir()),
            "arguments": arguments,
            "base": builder.layers(base),
            "squashfs": [squashfs_maker, *SQUASHFS_COMPRESSION, os.environ.get("SOURCE_DATE_EPOCH", "0")],
        }
        kept = _kept(ingredients)
        if kept.exists():
            report("Nothing has changed: copying the last image")
        else:
            _hard_copies(wheels, context / "wheels")
            _build(builder, context, arguments | {"PIP_OPTIONS": "--no-index --find-links=/ingredients"}, kept, report)
            report("Copying")
        return _place(kept, output)


def gather_sources(context: Path) -> None:
    """Copies what the Dockerfile needs into the new folder `context`, with the same modes on every machine."""
    context.mkdir()
    shutil.copyfile(REPOSITORY / DOCKERFILE, context / DOCKERFILE)
    for name in _SOURCES:
        ignored = shutil.ignore_patterns("__pycache__", ".*", "py.typed")
        shutil.copytree(REPOSITORY / name, context / name, ignore=ignored, copy_function=shutil.copyfile)
    for path in context.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)


def gather_models(models: Sequence[str], folder: Path) -> list[str]:
    """Writes `models` into the new `folder`, in the form in which runs send them to providers.

    Returns their sorted hashes. Raises NimaError if one of them is no model.
    """
    from nima.model import checkpoint
    from nima.safe_io import sha256_of
    from nima.weights import find_model

    folder.mkdir()
    for name in models:
        draft = folder / "draft"
        checkpoint.save(draft, checkpoint.load(find_model(name))[0], {})
        draft.rename(folder / f"{sha256_of(draft)}.safetensors")
    return sorted(path.stem for path in folder.iterdir())


def file_hashes(folder: Path) -> dict[str, str]:
    """Returns the SHA-256 of every file below `folder` by its relative path."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def _build(builder: Builder, context: Path, arguments: Mapping[str, str], kept: Path, report: Report) -> None:
    kept.parent.mkdir(parents=True, exist_ok=True)
    report(f"Building with {builder.name} (minutes)")
    image = builder.build(context, context / DOCKERFILE, arguments)
    # The scratch folder is beside the result, because /tmp may be in memory.
    with tempfile.TemporaryDirectory(dir=kept.parent, prefix=".") as scratch:
        archive, root, squashfs = (Path(scratch) / name for name in ("archive.tar", "root", "root.squashfs"))
        report("Saving")
        builder.save(image, archive)
        builder.remove(image)  # it uses a gigabyte, and nothing needs it any more
        report("Unpacking")
        config = unpack_archive(archive, root)
        archive.unlink()
        report("Packing")
        make_squashfs(root, squashfs)
        check_image_versions(write_image(squashfs, config, Path(scratch) / kept.name).labels, "The new image")
        for old in kept.parent.glob("*.gvmi"):
            old.unlink()
        (Path(scratch) / kept.name).rename(kept)


def _kept(ingredients: Mapping[str, object]) -> Path:
    key = hashlib.sha256(json.dumps(ingredients, sort_keys=True).encode()).hexdigest()
    return cache_folder() / "images" / f"{key}.gvmi"


def _hard_copies(source: Path, target: Path) -> None:
    """Copies files as hard links, which use no space, if the file system allows it."""
    target.mkdir()
    for path in source.iterdir():
        try:
            os.link(path, target / path.name)
        except OSError:
            shutil.copyfile(path, target / path.name)


def _place(kept: Path, output: Path) -> ImageInfo:
    try:
        with kept.open("rb") as source, atomic_file(output) as file:
            shutil.copyfileobj(source, file, 1 << 20)
    except OSError as error:
        raise ImageError(f"{output} could not be written: {error.strerror}.") from error
    return read_image(output)
