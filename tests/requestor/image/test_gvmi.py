"""Golem's image format: images are read as they were written; those that the VM runtime would refuse are refused."""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from superblock import squashfs

from requestor.errors import ImageError
from requestor.image.gvmi import MAX_CONFIG_BYTES, read_image, write_image

shared_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def trailer(text: bytes, *, crc: int | None = None, length: bytes | None = None) -> bytes:
    checksum = zlib.crc32(text) if crc is None else crc
    return struct.pack("<I", checksum) + text + (b"%08d" % len(text) if length is None else length)


def image(folder: Path, content: bytes) -> Path:
    path = folder / "image.gvmi"
    path.write_bytes(content)
    return path


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
configs = st.fixed_dictionaries(
    {},
    optional={
        "Env": st.none() | st.lists(texts, max_size=4),
        "Cmd": st.none() | st.lists(texts, max_size=4),
        "Entrypoint": st.none() | st.lists(texts, max_size=4),
        "WorkingDir": st.none() | texts,
        "User": st.none() | texts,
        "Volumes": st.none() | st.dictionaries(texts, st.just({}), max_size=4),
        "Labels": st.none() | st.dictionaries(texts, texts, max_size=4),
        "Tty": st.none() | st.booleans(),
        "Unknown": st.recursive(st.none() | st.booleans() | st.integers() | texts, lambda v: st.lists(v, max_size=3)),
    },
)


@shared_folder
@given(configs, st.binary(max_size=300))
def test_what_is_written_is_read_back(tmp_path: Path, config: dict[str, Any], body: bytes) -> None:
    source = tmp_path / "root.squashfs"
    source.write_bytes(squashfs(body))
    written = write_image(source, config, tmp_path / "image.gvmi")
    content = written.path.read_bytes()
    assert written == read_image(written.path)
    assert written.config == config
    assert written.squashfs_size == len(squashfs(body))
    assert written.size == len(content)
    assert written.sha3_224 == hashlib.sha3_224(content).hexdigest()
    assert content.startswith(squashfs(body))
    assert list(tmp_path.glob(".*")) == []


@shared_folder
@given(configs)
def test_the_trailer_is_laid_out_as_the_runtime_reads_it(tmp_path: Path, config: dict[str, Any]) -> None:
    """The trailer ends with 8 digits; before them come so many bytes of JSON, and before these their CRC-32."""
    source = tmp_path / "root.squashfs"
    source.write_bytes(squashfs())
    content = write_image(source, config, tmp_path / "image.gvmi").path.read_bytes()
    length = int(content[-8:].decode("ascii"))
    text = content[-8 - length : -8]
    assert json.loads(text) == config
    assert int.from_bytes(content[-12 - length : -8 - length], "little") == zlib.crc32(text)
    assert content[: -12 - length] == squashfs()


def test_a_config_is_read_as_the_runtime_reads_it(tmp_path: Path) -> None:
    config = {
        "User": " 1000:100 ",
        "Env": ["A=1", "B=2"],
        "Cmd": ["job.json"],
        "Entrypoint": ["/bin/x", "-v"],
        "Volumes": {"/b": {}, "/a": {}},
        "WorkingDir": "/opt",
        "Labels": {"version": "1"},
    }
    info = read_image(image(tmp_path, squashfs() + trailer(json.dumps(config, indent=1).encode())))
    assert (info.user, info.env, info.working_dir) == ((1000, 100), ("A=1", "B=2"), "/opt")
    assert (info.entrypoint, info.cmd, info.volumes) == (("/bin/x", "-v"), ("job.json",), ("/a", "/b"))
    assert (info.labels, info.compression) == ({"version": "1"}, "xz")


@pytest.mark.parametrize("user", [None, "", "nobody", "1000", "1000:users", "1000:1:1", "4294967296:0", "-1:0", "٣:٣"])
def test_a_user_that_is_not_two_numbers_is_root(tmp_path: Path, user: str | None) -> None:
    info = read_image(image(tmp_path, squashfs() + trailer(json.dumps({"User": user, "WorkingDir": " "}).encode())))
    assert (info.user, info.working_dir) == ((0, 0), "/")


REFUSED = {
    "empty": (b"", "has 0 bytes"),
    "a squashfs alone": (squashfs(), "does not end with"),
    "a length that is no number": (squashfs() + trailer(b"{}", length=b"0000000x"), "does not end with"),
    "a negative length": (squashfs() + trailer(b"{}", length=b"-0000002"), "does not end with"),
    "blanks in the length": (squashfs() + trailer(b"{}", length=b"       2"), "does not end with"),
    "a length beyond the file": (squashfs() + trailer(b"{}", length=b"00000999"), "would have 999 bytes"),
    "a length beyond all bounds": (squashfs() + trailer(b"{}", length=b"99999999"), "would have 99999999 bytes"),
    "a wrong checksum": (squashfs() + trailer(b"{}", crc=1), "checksum"),
    "no JSON": (squashfs() + trailer(b"{"), "cannot be used"),
    "no object": (squashfs() + trailer(b"[]"), "no object"),
    "no UTF-8": (squashfs() + trailer(b'{"User": "\xff"}'), "cannot be used"),
    "half of a surrogate pair": (squashfs() + trailer(rb'{"User": "\ud800"}'), "surrogates"),
    "no number": (squashfs() + trailer(b'{"StopTimeout": NaN}'), "no JSON"),
    "a key twice": (squashfs() + trailer(b'{"User": "0:0", "User": "1:1"}'), "twice"),
    "endless nesting": (squashfs() + trailer(b'{"x": ' + b"[" * 200_000), "cannot be used"),
    "a wrong type": (squashfs() + trailer(b'{"Entrypoint": "/bin/sh"}'), "Entrypoint has the wrong type"),
    "volumes that are a list": (squashfs() + trailer(b'{"Volumes": ["/a"]}'), "Volumes has the wrong type"),
    "no squashfs": (b"PK\3\4" * 50 + trailer(b"{}"), "no squashfs"),
    "a trailer alone": (trailer(b"{}"), "no squashfs"),
    "a squashfs that overlaps the trailer": (squashfs(used=5000) + trailer(b"{}"), "cut short"),
    "an unknown compression": (squashfs(compression=9) + trailer(b"{}"), "unknown compression"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_runtime_could_not_use_is_refused(tmp_path: Path, name: str) -> None:
    content, reason = REFUSED[name]
    path = image(tmp_path, content)
    with pytest.raises(ImageError, match=reason) as caught:
        read_image(path)
    assert str(path) in str(caught.value)


@shared_folder
@given(st.integers(1, 60), st.integers(0, 255))
def test_no_byte_of_the_trailer_can_be_changed_unseen(tmp_path: Path, back: int, value: int) -> None:
    text = b'{"Cmd":["a"],"Entrypoint":["/usr/local/bin/python3"]}'
    content = bytearray(squashfs() + trailer(text))
    if content[-back] == value:
        return
    content[-back] = value
    try:
        info = read_image(image(tmp_path, bytes(content)))
    except ImageError:
        return
    assert back == 8, "only a plus sign before the length means the same"
    assert chr(value) == "+"
    assert info.config == json.loads(text)


@shared_folder
@given(st.binary(max_size=400))
def test_any_bytes_are_refused_in_one_sentence(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ImageError):
        read_image(image(tmp_path, content))


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.gvmi", tmp_path):
        with pytest.raises(ImageError, match=str(path)):
            read_image(path)


@pytest.mark.parametrize(
    "config",
    [
        {"Env": "A=1"},
        {"User": "\ud800"},
        {"Unknown": float("nan")},
        {"Unknown": object()},
        {"User": "x" * MAX_CONFIG_BYTES},
    ],
)
def test_a_config_that_could_not_be_read_back_is_not_written(tmp_path: Path, config: dict[str, Any]) -> None:
    source = tmp_path / "root.squashfs"
    source.write_bytes(squashfs())
    with pytest.raises(ImageError, match="container config"):
        write_image(source, config, tmp_path / "image.gvmi")
    assert not (tmp_path / "image.gvmi").exists()


def test_an_image_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    old = image(tmp_path, b"old")
    not_squashfs = tmp_path / "root.squashfs"
    not_squashfs.write_bytes(b"nothing")
    with pytest.raises(ImageError, match="no squashfs"):
        write_image(not_squashfs, {}, old)
    with pytest.raises(ImageError, match="could not be written"):
        write_image(tmp_path / "missing", {}, old)
    assert old.read_bytes() == b"old"
    assert list(tmp_path.glob(".*")) == []
