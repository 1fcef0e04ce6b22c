#!/usr/bin/env python3
"""Feeds broken files and messages to every reader of strangers' bytes, and reports errors that are not its own.

    python scripts/fuzzing/readers.py [--seconds 60] [--reader NAME] [--seed 0]

Each reader starts from inputs that it accepts, which are changed at random (`changes.py`): their bytes, or the values
in them. An input whose error is not one of the reader's own, or that takes more than ten seconds to read, is written to
`tests/data/fuzzing`, where `tests/scripts/test_fuzzing.py` reads all inputs again.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import struct
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import numpy as np
import torch
from changes import (
    FLEXBUFFERS,
    IMAGE,
    JSON,
    JSON_LINES,
    SAFETENSORS,
    Format,
    changed_bytes,
    changed_values,
)

from nima.ava import read_prediction_table, read_ratings
from nima.errors import NimaError
from nima.model import checkpoint, initial_model
from nima.wire import (
    PROTOCOL,
    JobResult,
    decode_features,
    decode_predictions,
    decode_update,
    encode_features,
    encode_predictions,
    encode_update,
    schema_of,
)
from nima.xmp import NEW_XMP, properties_inside, with_property
from requestor.errors import RequestorError
from requestor.golem.bus import flexbuffers, packets
from requestor.image import read_image, write_image
from requestor.records import Ledger

CORPUS = Path(__file__).resolve().parents[2] / "tests" / "data" / "fuzzing"
_OWN_ERRORS = (NimaError, RequestorError, flexbuffers.FlexBufferError, packets.ProtocolError)
_SLOW = 10.0  # seconds


@dataclass(frozen=True)
class Reader:
    """A reader of strangers' bytes.

    read: reads bytes; errors of this program are what it should raise for broken ones.
    seeds: inputs that it accepts.
    form: takes such an input apart into values; None if only its bytes can be changed.
    """

    read: Callable[[bytes], object]
    seeds: Sequence[bytes]
    form: Format | None = None


def readers(folder: Path) -> dict[str, Reader]:
    """Returns the readers by name; those that read files use one in `folder`."""
    path, ids = folder / "file", np.arange(3, dtype=np.int64)
    tensors = {"head.weight": torch.zeros(10, 4), "head.bias": torch.zeros(10)}
    trained = {name: tensor + 0.01 for name, tensor in tensors.items()}

    def from_file(read: Callable[[Path], object]) -> Callable[[bytes], object]:
        def of(content: bytes) -> object:
            path.write_bytes(content)
            return read(path)

        return of

    def written(write: Callable[[Path], object]) -> bytes:
        write(path)
        return path.read_bytes()

    def write_ledger(path: Path) -> None:
        path.unlink(missing_ok=True)
        Ledger(path).record("invoice", agreement="a", amount=Decimal("0.1"))
        Ledger(path).record("task", agreement="a", job="j", ok=True)

    def write_golem_image(path: Path) -> None:
        squashfs = folder / "squashfs"
        squashfs.write_bytes(struct.pack("<4s16xH6xHH8xQ48x", b"hsqs", 4, 4, 0, 100).ljust(100, b"\0"))
        config = {"Env": ["A=b"], "Volumes": {"/golem/work": {}}, "Labels": {"a": "b"}, "StopTimeout": 1, "User": "0:0"}
        write_image(squashfs, config, path)

    model = initial_model("mobilenet_v3_small", None, seed=0)
    checkpoint.save(path, model, {"name": "seed", "split": {"name": "a", "hash": "b"}, "metrics": {"n": 3}})
    saved = path.read_bytes()
    header = saved[: 8 + int.from_bytes(saved[:8], "little")]
    row = b"1 953619 " + b" ".join(b"5" for _ in range(10)) + b" 1 22 1396\n"
    table = "image_id," + ",".join(f"p{n}" for n in range(1, 11)) + "\n953619," + ",".join(["0.1"] * 10) + "\n"
    result = JobResult(PROTOCOL, "job-1", "embed", True, None, 3, 1.0).to_json()
    features = [np.zeros((3, 4), np.float16)]
    message = {"chunk": {"offset": 5, "content": b"abc"}, "list": [1, -1, 2.5, None, True, "text"]}
    rated = with_property(NEW_XMP, "Rating", "4")
    return {
        "flexbuffers": Reader(flexbuffers.decode, [flexbuffers.encode(message)], FLEXBUFFERS),
        "packets": Reader(packets.decode, [packets.encode(packets.CallRequest("a", "/b", "c", b"data"))[4:]]),
        "result": Reader(
            lambda content: JobResult.from_json(content.decode(errors="replace")), [result.encode()], JSON
        ),
        "model header": Reader(from_file(checkpoint.read_metadata), [header], SAFETENSORS),
        "update": Reader(
            from_file(lambda file: decode_update(file, schema_of(tensors))),
            [written(lambda file: encode_update(file, tensors, trained, seed=0))],
            SAFETENSORS,
        ),
        "features": Reader(
            from_file(lambda file: decode_features(file, ids, 4)),
            [written(lambda file: encode_features(file, ids, features))],
            SAFETENSORS,
        ),
        "predictions": Reader(
            from_file(lambda file: decode_predictions(file, ids)),
            [written(lambda file: encode_predictions(file, ids, np.full((3, 10), 0.1, np.float32)))],
            SAFETENSORS,
        ),
        "ratings": Reader(from_file(read_ratings), [row]),
        "prediction table": Reader(from_file(read_prediction_table), [table.encode()]),
        "sidecar": Reader(lambda content: with_property(content, "Rating", "3"), [rated]),
        "rating in a photo": Reader(from_file(properties_inside), [b"\xff\xd8" + rated]),
        "ledger": Reader(from_file(lambda file: Ledger(file).receipts()), [written(write_ledger)], JSON_LINES),
        "image": Reader(from_file(read_image), [written(write_golem_image)], IMAGE),
    }


def changed(reader: Reader, dice: random.Random) -> bytes:
    """Returns one of the reader's inputs with random changes of its values, if it has a format, or of its bytes."""
    seed = dice.choice(reader.seeds)
    if reader.form is not None and dice.random() < 0.5:
        content = changed_values(seed, reader.form, dice)
        if content is not None:
            return content
    return changed_bytes(seed, dice)


def problem(reader: Reader, content: bytes) -> str | None:
    """Returns the error of reading `content` if it is not one of this program's own; None if it is, or if there is
    none.
    """
    try:
        reader.read(content)
    except _OWN_ERRORS:
        return None
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description="Fuzzes every reader of strangers' bytes.")
    parser.add_argument("--seconds", type=float, default=60, help="time for each reader")
    parser.add_argument("--reader", help="only this reader")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    found = 0
    with tempfile.TemporaryDirectory() as folder:
        for name, reader in readers(Path(folder)).items():
            if options.reader not in (None, name):
                continue
            dice, tried, kinds = random.Random(options.seed), 0, set[str]()
            until = time.monotonic() + options.seconds
            while time.monotonic() < until:
                content = changed(reader, dice)
                tried += 1
                began = time.monotonic()
                error = problem(reader, content)
                if time.monotonic() - began > _SLOW:
                    error = error or "it takes too long"
                if error is not None and error[:40] not in kinds:
                    kinds.add(error[:40])
                    kept = CORPUS / name.replace(" ", "-") / hashlib.sha256(content).hexdigest()[:16]
                    kept.parent.mkdir(parents=True, exist_ok=True)
                    kept.write_bytes(content)
                    print(f"{name}: {error} ({kept})")
            print(f"{name}: {tried} inputs, {len(kinds)} kinds of errors that are not its own")
            found += len(kinds)
    raise SystemExit(1 if found else 0)


if __name__ == "__main__":
    main()
