"""Reads and writes a run's folder, which holds everything that a run needs to go on, and stays valid after any kill.

run.json         the identity of the run (data, backbone, seed, …), its beginning and version; it never changes
options.json     the options of the last command, for `nima-golem runs resume`
data.json        what the data set is: its name, its raters, its licence
privacy.json     the agreement of the photos' owner that providers see them
cross_validation.json   figures of a cross-validation, if few photos are for testing
dataset.json     shards and split, once sharding is done
store/           content-addressed files that are sent to providers: shards and models
holdout/         the shard that never leaves this machine
embedding/       features that providers computed, and the head that was trained on them
state.json       the last round that counts, the best one, and why the training ended
rounds/          a checkpoint after every round, and the state of the server's optimiser; round 0 is the embedding
inbox/           files that providers sent, until they are admitted
metrics.jsonl    one line for each round, verdicts included; round 0 is the embedding
ledger.jsonl     agreements, tasks, bills and allocations
predictions.csv  the predictions of the providers for the test photos
report.html      the report for people, written after every round
model.safetensors, receipt.json, summary.json   the result
"""

from __future__ import annotations

import fcntl
import json
import logging
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from nima.safe_io import printable, write_atomically
from nima.version import VERSION
from requestor.errors import RunFolderError
from requestor.records.journal import append, lines
from requestor.records.ledger import Ledger
from requestor.records.round_record import RoundEntry, latest


class RunFiles:
    """Reads a run's folder without a lock, also while another process works in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ledger = Ledger(path / "ledger.jsonl")

    def read(self, name: str) -> Any:
        """Returns the object in a JSON file of this folder; None if the file does not exist yet.

        Raises RunFolderError if the file is damaged.
        """
        try:
            content = json.loads((self.path / name).read_text(encoding="utf-8"))
            if not isinstance(content, dict):
                raise ValueError("not an object")
            return content
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError) as error:
            raise RunFolderError(f"{self.path / name} is damaged ({error}): choose another --run-dir.") from error

    def options(self) -> dict[str, Any] | None:
        """Reads `options.json`, without checks of its values; returns None if it does not exist yet.

        Raises RunFolderError if it is not a JSON object.
        """
        try:
            content = json.loads((self.path / "options.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError) as error:
            raise self.options_are_damaged(error) from error
        if not isinstance(content, dict):
            raise self.options_are_damaged("not an object")
        return content

    def options_are_damaged(self, problem: object) -> RunFolderError:
        """Returns the error for an `options.json` that is damaged; the next `nima-golem train` writes it again."""
        return RunFolderError(
            f"{self.path / 'options.json'} is damaged ({problem}): give the `nima-golem train` command again."
        )

    def attempts(self) -> Iterator[RoundEntry]:
        """Reads the entries of metrics.jsonl, oldest first; a round that was done again has several.

        Leaves out a last line that a kill cut off; that round is done again. Raises RunFolderError if any other line
        is damaged.
        """
        return lines(self.path / "metrics.jsonl", RoundEntry.from_json)

    def metrics(self) -> list[RoundEntry]:
        """Returns one entry for each round, in order: the last one if a round was done again after a kill.

        Raises RunFolderError as `attempts` does.
        """
        return latest(self.attempts())

    def stored(self, sha256: str) -> Path:
        """Returns the path of the content-addressed file with this SHA-256."""
        return self.path / "store" / f"{sha256}.safetensors"

    def checkpoint(self, number: int) -> Path:
        """Returns the path of the model after a round; round 0 is the embedding."""
        return self.path / "rounds" / f"{number:04d}.safetensors"

    def server_state(self, number: int) -> Path:
        """Returns the path of the server's optimiser's state after a round."""
        return self.path / "rounds" / f"{number:04d}.server.safetensors"


class RunFolder(RunFiles):
    """Opens a run's folder, or makes it, and locks it until `close` or the end of this process.

    Args:
        path: the folder; it may exist if it is empty or holds the same run.
        identity: the options that distinguish this run from any other; JSON values by the option's name.

    Raises:
        RunFolderError: the folder holds another run or other files, another process works in it, or it cannot be
            written.
    """

    def __init__(self, path: Path, identity: dict[str, Any]) -> None:
        super().__init__(path)
        try:
            self._open(identity)
        except OSError as error:
            raise RunFolderError(f"{path} cannot be written ({error.strerror}): choose another --run-dir.") from error

    def _open(self, identity: dict[str, Any]) -> None:
        path = self.path
        run_file = path / "run.json"
        if path.exists() and not run_file.exists() and any(path.iterdir()):
            raise RunFolderError(f"{path} is not empty and holds no run: choose another --run-dir.")
        for name in ("store", "holdout", "rounds", "inbox"):
            (path / name).mkdir(parents=True, exist_ok=True)
        self._lock = (path / ".lock").open("w")
        try:
            self._take(run_file, identity)
        except BaseException:
            self.close()
            raise

    def _take(self, run_file: Path, identity: Mapping[str, Any]) -> None:
        """Locks the folder, and writes the run's identity or compares it."""
        path = self.path
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise RunFolderError(
                f"Another process is working in {path}: wait for it, or choose another --run-dir."
            ) from None
        if not run_file.exists():
            began = datetime.now(timezone.utc).isoformat(timespec="seconds")
            made = {**identity, "began": began, "version": VERSION}
            write_atomically(run_file, json.dumps(made, indent=1).encode())
            return
        existing = self.read("run.json")
        # Older versions of this program wrote more options, which may change now.
        changed = [name for name in sorted(identity) if existing.get(name) != identity[name]]
        if changed:
            changes = ", ".join(
                f"--{name.replace('_', '-')} was {existing.get(name)} and is now {identity[name]}" for name in changed
            )
            raise RunFolderError(f"{path} holds another run ({changes}): choose another --run-dir.")

    def close(self) -> None:
        """Releases the lock; the end of the process would release it, too."""
        self._lock.close()

    def write(self, name: str, content: Any) -> None:
        """Writes a JSON file into this folder, atomically."""
        write_atomically(self.path / name, json.dumps(content, indent=1).encode())

    def append_metrics(self, entry: RoundEntry) -> None:
        """Adds a line to metrics.jsonl; the line is on disk when this method returns."""
        append(self.path / "metrics.jsonl", entry.to_json())


class _PrintableFormatter(logging.Formatter):
    """Writes entries without control characters, because yapapi logs what providers write as it comes.

    All lines of an entry but the first are indented, so that no text can look like an entry of its own.
    """

    def format(self, record: logging.LogRecord) -> str:
        return "\n    ".join(map(printable, super().format(record).splitlines()))


def log_to(path: Path) -> None:
    """Writes everything that yapapi and this program log to a file, because the terminal is for people."""
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(_PrintableFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logger = logging.getLogger()
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    for name in ("requestor", "yapapi"):
        logging.getLogger(name).setLevel(logging.DEBUG)
