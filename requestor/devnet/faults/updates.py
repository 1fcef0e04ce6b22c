"""Defines faults of providers that send well-formed files with wrong values: the safetensors files that a task writes.

They change all tensors of floating-point numbers or int8, in any project's files; in this project's updates
(`nima.wire.updates`) they change the delta that the tensors stand for. `LabelFlip`, which acts before the training, and
`BadFeatures` know the jobs of this project only.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from nima.safe_io import write_atomically
from nima.wire import FEATURES_FILE
from requestor.devnet.faults.fault import Execute, Fault
from requestor.devnet.faults.files import FileFault
from requestor.devnet.faults.work import ProgramRun

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Tensors = dict[str, NDArray[np.floating | np.int8]]

SCALE = 100
_SCALES = "scales"  # this tensor of an update holds the size of the delta's values, not the values


class TensorFault(FileFault):
    """Changes the tensors of floating-point numbers or int8 in every safetensors file; other files stay as they are."""

    def alter(self, work: ProgramRun, path: Path) -> None:
        if path.suffix == ".safetensors":
            super().alter(work, path)

    def instead_of(self, path: Path) -> bytes:
        # Imported here, because every agent imports this module, and only the few with such a fault need numpy.
        import numpy as np
        from safetensors.numpy import load, save

        tensors = load(path.read_bytes())
        values = {name: array for name, array in tensors.items() if array.dtype == np.int8 or array.dtype.kind == "f"}
        changed = {name: np.ascontiguousarray(array) for name, array in self.changed(values).items()}
        content: bytes = save({**tensors, **changed})
        return content

    def changed(self, tensors: Tensors) -> Tensors:
        """Returns those of the `tensors` (by name) whose values are changed, with the new values."""
        raise NotImplementedError


class WrongShape(TensorFault):
    """Adds a row to every tensor that has a dimension."""

    def changed(self, tensors: Tensors) -> Tensors:
        import numpy as np

        return {name: np.concatenate([values, values[:1]]) for name, values in tensors.items() if values.ndim}


class NotANumber(TensorFault):
    """Sets the first value of every tensor of floating-point numbers to NaN."""

    def changed(self, tensors: Tensors) -> Tensors:
        floats = {name: values for name, values in tensors.items() if values.dtype.kind == "f"}
        for values in floats.values():
            values.flat[:1] = float("nan")
        return floats


class Zero(TensorFault):
    """Sets all values to zero, as if no work was done."""

    def changed(self, tensors: Tensors) -> Tensors:
        return {name: values * 0 for name, values in tensors.items()}


class Flip(TensorFault):
    """Flips the sign of all values."""

    def changed(self, tensors: Tensors) -> Tensors:
        return {name: -values for name, values in tensors.items() if name != _SCALES}


class Scale(TensorFault):
    """Multiplies all values by 100."""

    def changed(self, tensors: Tensors) -> Tensors:
        scaled = {_SCALES: tensors[_SCALES]} if _SCALES in tensors else tensors
        return {name: values * values.dtype.type(SCALE) for name, values in scaled.items()}


class BadFeatures(TensorFault):
    """Shifts the rows of `features.safetensors` by one: each photo has the features of its neighbour."""

    def alter(self, work: ProgramRun, path: Path) -> None:
        if path.name == FEATURES_FILE:
            super().alter(work, path)

    def changed(self, tensors: Tensors) -> Tensors:
        import numpy as np

        return {name: np.roll(values, 1, axis=0) for name, values in tensors.items()}


class LabelFlip(Fault):
    """Trains this project's jobs on reversed votes: 10 for 1, 9 for 2, and so on."""

    async def run(self, work: ProgramRun, execute: Execute) -> int:
        job_file = work.host_path(work.argv[-1])
        if job_file is not None and job_file.name == "job.json":
            _flip_labels(job_file, work)
        return await execute()


def _flip_labels(job_file: Path, work: ProgramRun) -> None:
    from nima.wire import Job, read_shard, read_votes, write_votes

    def stored(sha256: str) -> Path:
        path = work.host_path(f"{job.store}/{sha256}.safetensors")
        assert path is not None, "a job's store is a volume"
        return path

    job = Job.from_json(job_file.read_text())
    if job.kind != "train":
        return
    flipped = []
    for shard, votes in zip(job.shards, job.votes, strict=True):
        image_ids = read_shard(stored(shard)).image_ids
        rated = read_votes(stored(votes), image_ids)
        flipped.append(write_votes(stored(votes).parent, image_ids, rated[:, ::-1]))
    write_atomically(job_file, replace(job, votes=tuple(flipped)).to_json().encode())
