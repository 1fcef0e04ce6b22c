"""Holds the options of `nima-golem train`, and keeps them in the run's folder for `nima-golem runs resume`."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Literal

from nima.safe_io import FormatError, build_dataclass, check_range, check_types, require
from requestor.audits import AUDIT_SHARE
from requestor.errors import RunFolderError
from requestor.records import RunFiles
from requestor.training.strategies import STRATEGIES

# The smallest and the largest value of each option; -1 blocks are all of them.
OPTION_LIMITS = {
    "rounds": (1, 1000), "workers": (1, 1000), "proximal": (0, 10), "seed": (0, 2**31), "blocks": (-1, 1000),
    "audit": (0, 1),
}  # fmt: skip
HOURS_LIMITS = (0.001, 10_000.0)


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """Holds the options of `nima-golem train`, as the user gave them.

    Attributes:
        ava: folder with `AVA.txt` and `images/<id>.jpg`.
        budget: GLM that the run may cost, at most.
        backend: Golem, or subprocesses of this machine.
        backbone: a name of `nima.model.backbones`.
        strategy: a key of `requestor.training.STRATEGIES`.
        rounds: number of federated rounds; None for the strategy's own number.
        blocks: number of the backbone's last blocks that rounds train, -1 for all; None for the strategy's own number.
        hours: time that the run may take; None for no limit.
        aggregation: a key of `requestor.training.rounds.AGGREGATION_RULES`.
        proximal: FedProx's mu, at least 0.
        workers: number of providers that work at the same time.
        max_price: GLM that the first hour of one provider may cost at full load.
        test_ids: file with the ids of the photos for testing; None for those of the AVA folder, or random ones.
        run_dir: folder of the run; None for one below `runs`.
        network, subnet: payment network and Golem subnet; None for those of the environment.
        seed: seed of everything that is random.
        audit: share of the providers' work that is computed again on this machine, 0 to 1.
        start: the NIMA that the run goes on from: a name in the table of weights, or an absolute path; None for the
            backbone's weights of ImageNet.
    """

    ava: Path
    budget: Decimal
    backend: Literal["golem", "local"]
    backbone: str
    strategy: str
    rounds: int | None
    aggregation: str
    proximal: float
    workers: int
    max_price: Decimal
    test_ids: Path | None
    run_dir: Path | None
    network: str | None
    subnet: str | None
    seed: int
    blocks: int | None = None
    hours: float | None = None
    audit: float = AUDIT_SHARE
    start: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Returns the content of `options.json`: amounts are exact texts, and paths are absolute.

        The folder of the run is left out: it is the folder that holds the file, also after the user has moved it.
        """
        content = {name: _json_value(value) for name, value in dataclasses.asdict(self).items()}
        del content["run_dir"]
        return content

    @classmethod
    def read(cls, folder: Path) -> TrainOptions:
        """Reads the options of the last command that worked in a run's folder; `run_dir` is this folder.

        Raises RunFolderError if the folder has no `options.json`, or the file is damaged.
        """
        files = RunFiles(folder)
        content = files.options()
        if content is None:
            raise RunFolderError(f"{folder} does not tell its options: give the `nima-golem train` command again.")
        try:
            return cls._from_json(content, folder)
        except (ValueError, FormatError) as error:
            raise files.options_are_damaged(error) from error

    @classmethod
    def _from_json(cls, content: dict[str, Any], run_dir: Path) -> TrainOptions:
        require("run_dir" not in content, "unknown key 'run_dir'")
        typed = _typed(content)
        for name in ("budget", "max_price"):
            if name in typed:
                typed[name] = _amount(name, typed[name])
        for name in ("ava", "test_ids"):
            if typed.get(name) is not None:
                typed[name] = _absolute_path(name, typed[name])
        options: TrainOptions = build_dataclass(cls, {**typed, "run_dir": run_dir})
        check_types(options)
        require(options.strategy in STRATEGIES, f"strategy must be one of {', '.join(STRATEGIES)}")
        for name, (low, high) in {**OPTION_LIMITS, "hours": HOURS_LIMITS}.items():
            if (value := getattr(options, name)) is not None:
                check_range(name, value, low, high)
        return options


def _json_value(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value.resolve())
    return str(value) if isinstance(value, Decimal) else value


def _typed(content: dict[str, Any]) -> dict[str, Any]:
    """Returns the content with numbers where an older version of this program wrote texts.

    In a file of that version, every value is a text or null. Raises ValueError if a text is not a number.
    """
    if not all(value is None or isinstance(value, str) for value in content.values()):
        return dict(content)
    numbers = {
        "rounds": int,
        "workers": int,
        "seed": int,
        "proximal": float,
        "blocks": int,
        "hours": float,
        "audit": float,
    }
    return {
        name: numbers[name](value) if name in numbers and value is not None else value
        for name, value in content.items()
    }


def _amount(name: str, value: object) -> Decimal:
    try:
        amount = Decimal(value) if isinstance(value, str) else Decimal("NaN")
    except InvalidOperation:
        amount = Decimal("NaN")
    require(amount.is_finite() and amount > 0, f"{name} is not an amount of GLM")
    return amount


def _absolute_path(name: str, value: object) -> Path:
    if not (isinstance(value, str) and Path(value).is_absolute()):
        raise FormatError(f"{name} is not an absolute path")
    if b"\0" in os.fsencode(value):  # raises UnicodeEncodeError for what no file can be called, either
        raise FormatError(f"{name} contains a null character")
    return Path(value)
