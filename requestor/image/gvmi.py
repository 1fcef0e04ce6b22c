"""Reads and writes Golem's image format, `.gvmi`, as the VM runtime reads it.

    squashfs | CRC-32 (IEEE) of the JSON, u32 little-endian | container config as JSON | length of the JSON

The length is 8 ASCII digits, decimal. The config is Docker's `Config` object. Source: ya-runtime-vm
`runtime/src/deploy.rs` (`Deployment::try_from_input`), with bollard's `ContainerConfig` as the JSON's types; the demand
names an image by the SHA3-224 of the whole file (gvmkit-build-rs `chunks.rs`).
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from nima.safe_io import atomic_file
from requestor.errors import ImageError

MAX_CONFIG_BYTES = 2**20
_LENGTH_DIGITS = 8
_CRC = struct.Struct("<I")
_TRAILER_BYTES = _CRC.size + _LENGTH_DIGITS

# Superblock of squashfs 4.0: magic, compression, major and minor version, bytes used (kernel fs/squashfs/squashfs_fs.h)
_SUPERBLOCK = struct.Struct("<4s16xH6xHH8xQ48x")
_MAGIC = b"hsqs"
_COMPRESSIONS = {1: "gzip", 2: "lzma", 3: "lzo", 4: "xz", 5: "lz4", 6: "zstd"}
# gvmkit-build's README names zstd as not supported by Golem; lzma is not in any kernel.
UNSUPPORTED_COMPRESSIONS = ("lzma", "zstd")

# Fields of the config by type; null is always allowed, and unknown fields are ignored.
_STRINGS = ("Hostname", "Domainname", "User", "Image", "WorkingDir", "MacAddress", "StopSignal")
_FLAGS = (
    *("AttachStdin", "AttachStdout", "AttachStderr", "Tty", "OpenStdin", "StdinOnce"),
    *("ArgsEscaped", "NetworkDisabled"),
)
_LISTS = ("Env", "Cmd", "Entrypoint", "OnBuild", "Shell")
_SETS = ("Volumes", "ExposedPorts")  # path → {}


@dataclass(frozen=True)
class ImageInfo:
    """Describes a `.gvmi` file.

    Attributes:
        path: the file.
        config: the checked container config; the properties below are what the runtime takes from it.
        size: bytes of the file.
        squashfs_size: bytes of the squashfs at its beginning.
        compression: compression of the squashfs: gzip, lzo, xz, lz4, lzma or zstd.
        sha3_224: hash of the whole file, 56 hexadecimal digits; the demand names it.
    """

    path: Path
    config: dict[str, Any]
    size: int
    squashfs_size: int
    compression: str
    sha3_224: str

    @property
    def entrypoint(self) -> tuple[str, ...]:
        """Returns the program that the image starts, and its first arguments."""
        return tuple(self.config.get("Entrypoint") or ())

    @property
    def cmd(self) -> tuple[str, ...]:
        """Returns the arguments that follow those of the entrypoint."""
        return tuple(self.config.get("Cmd") or ())

    @property
    def env(self) -> tuple[str, ...]:
        """Returns the variables as `NAME=value`. Runtimes from 0.5.0 on ignore them: programs get no environment."""
        return tuple(self.config.get("Env") or ())

    @property
    def working_dir(self) -> str:
        """Returns the folder in which programs start; `/` if the config names none."""
        folder: str = self.config.get("WorkingDir") or ""
        return folder if folder.strip() else "/"

    @property
    def volumes(self) -> tuple[str, ...]:
        """Returns the sorted paths that become empty folders of the host. Files can be sent only to these folders."""
        return tuple(sorted(self.config.get("Volumes") or ()))

    @property
    def user(self) -> tuple[int, int]:
        """Returns the (uid, gid) of programs: the config's `User` if it is two numbers, otherwise that of root."""
        match = re.fullmatch(r"\+?([0-9]+):\+?([0-9]+)", (self.config.get("User") or "").strip(), re.ASCII)
        if match is None or any(int(number[-20:]) >= 2**32 for number in match.groups()):
            return 0, 0
        return int(match[1]), int(match[2])

    @property
    def labels(self) -> dict[str, str]:
        """Returns the labels by name."""
        return dict(self.config.get("Labels") or {})


def read_image(path: Path) -> ImageInfo:
    """Reads and checks an image. Raises ImageError if it is no image, or if the runtime would refuse it."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            config, squashfs_size = _read_config(path, file, size)
            compression = _read_superblock(path, file, squashfs_size)
            file.seek(0)
            digest = hashlib.file_digest(file, "sha3_224") if hasattr(hashlib, "file_digest") else _digest(file)
    except OSError as error:
        raise ImageError(f"{path} could not be read: {error.strerror}.") from error
    return ImageInfo(path, config, size, squashfs_size, compression, digest.hexdigest())


def read_labels(end: bytes) -> dict[str, str]:
    """Returns the labels of an image from its last bytes. Raises ImageError if these bytes hold no config."""
    config, _ = _read_config(Path("image"), io.BytesIO(end), len(end))
    return dict(config.get("Labels") or {})


def write_image(squashfs: Path, config: Mapping[str, Any], output: Path) -> ImageInfo:
    """Makes an image of a squashfs file and a container config; the same input gives the same bytes.

    `output` appears when it is complete, and replaces a file of that name. Raises ImageError if the squashfs or the
    config is malformed, or if the image cannot be written.
    """
    checked = dict(config)
    try:
        _check_config(checked)
        text = _to_json(checked)
    except (TypeError, ValueError, RecursionError) as error:
        raise ImageError(f"{output}: the container config cannot be written: {error}.") from error
    if len(text) > MAX_CONFIG_BYTES:
        raise ImageError(f"{output}: the container config has {len(text)} bytes, more than {MAX_CONFIG_BYTES}.")
    try:
        with squashfs.open("rb") as source, atomic_file(output) as target:
            _read_superblock(squashfs, source, os.fstat(source.fileno()).st_size)
            source.seek(0)
            shutil.copyfileobj(source, target, 1 << 20)
            target.write(_CRC.pack(zlib.crc32(text)) + text + f"{len(text):0{_LENGTH_DIGITS}}".encode())
    except OSError as error:
        raise ImageError(f"{output} could not be written: {error.strerror} ({error.filename}).") from error
    return read_image(output)


def _read_config(path: Path, file: BinaryIO, size: int) -> tuple[dict[str, Any], int]:
    """Returns the config, and the number of bytes before its checksum. Raises ImageError."""
    if size < _TRAILER_BYTES:
        raise ImageError(f"{path} is no Golem image: it has {size} bytes.")
    file.seek(size - _LENGTH_DIGITS)
    digits = file.read(_LENGTH_DIGITS)
    if re.fullmatch(rb"\+?[0-9]+", digits) is None:  # Rust's parser of integers takes a plus sign
        raise ImageError(f"{path} is no Golem image: it does not end with the length of its container config.")
    length = int(digits)
    if length > min(size - _TRAILER_BYTES, MAX_CONFIG_BYTES):
        raise ImageError(f"{path} is damaged: its container config would have {length} bytes.")
    squashfs_size = size - _TRAILER_BYTES - length
    file.seek(squashfs_size)
    (crc,) = _CRC.unpack(file.read(_CRC.size))
    text = file.read(length)
    if zlib.crc32(text) != crc:
        raise ImageError(f"{path} is damaged: the checksum of its container config is wrong.")
    try:
        config = json.loads(text.decode(), object_pairs_hook=_without_duplicates, parse_constant=_no_constant)
        _check_config(config)
        _to_json(config)
    except (ValueError, RecursionError) as error:
        raise ImageError(f"{path} has a container config that cannot be used: {str(error)[:200]}.") from error
    return config, squashfs_size


def _read_superblock(path: Path, file: BinaryIO, squashfs_size: int) -> str:
    """Returns the compression of the squashfs. Raises ImageError if the squashfs is not whole."""
    file.seek(0)
    block = file.read(_SUPERBLOCK.size)
    if squashfs_size < _SUPERBLOCK.size or len(block) < _SUPERBLOCK.size:
        raise ImageError(f"{path} holds no squashfs: {squashfs_size} bytes are too few.")
    magic, compression, major, minor, used = _SUPERBLOCK.unpack(block)
    if magic != _MAGIC or (major, minor) != (4, 0):
        raise ImageError(f"{path} holds no squashfs 4.0.")
    if used > squashfs_size:
        raise ImageError(f"{path} is cut short: its squashfs has {squashfs_size} of {used} bytes.")
    if compression not in _COMPRESSIONS:
        raise ImageError(f"{path} holds a squashfs of an unknown compression ({compression}).")
    return _COMPRESSIONS[compression]


def _check_config(config: Any) -> None:
    """Raises ValueError if the VM runtime could not deserialise the config."""
    if not isinstance(config, dict):
        raise ValueError("it is no object")
    for name, value in config.items():
        if value is None:
            continue
        if name in _STRINGS:
            fits = isinstance(value, str)
        elif name in _FLAGS:
            fits = isinstance(value, bool)
        elif name in _LISTS:
            fits = isinstance(value, list) and all(isinstance(item, str) for item in value)
        elif name in _SETS:
            fits = isinstance(value, dict) and all(isinstance(k, str) and v == {} for k, v in value.items())
        elif name == "Labels":
            fits = isinstance(value, dict) and all(isinstance(s, str) for pair in value.items() for s in pair)
        elif name == "StopTimeout":
            fits = isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63
        elif name == "Healthcheck":
            fits = isinstance(value, dict)
        else:
            fits = True
        if not fits:
            raise ValueError(f"{name} has the wrong type")


def _to_json(config: Mapping[str, Any]) -> bytes:
    """Encodes a config as JSON; the same config gives the same bytes.

    Raises ValueError for half of a surrogate pair, NaN or infinity.
    """
    return json.dumps(config, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False).encode()


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) != len(pairs):
        raise ValueError("it has a key twice")
    return data


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _digest(file: BinaryIO) -> hashlib._Hash:
    """Does the work of `hashlib.file_digest`, which Python 3.10 does not have."""
    digest = hashlib.sha3_224()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest
