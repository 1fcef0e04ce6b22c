"""Lists all kinds of faults by name, and reads the command-line syntax that gives them to providers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from requestor.devnet.faults.conduct import Crash, Drop, Hang, Overcharge, Refuse, Slow
from requestor.devnet.faults.fault import Fault
from requestor.devnet.faults.files import Garbage, Oversized, Pickle, Replay, Stale, Truncated, ZipSlip
from requestor.devnet.faults.updates import BadFeatures, Flip, LabelFlip, NotANumber, Scale, WrongShape, Zero
from requestor.errors import DevnetError

KINDS: dict[str, Callable[[Path], Fault]] = {
    "crash": Crash,
    "hang": Hang,
    "drop": Drop,
    "refuse": Refuse,
    "overcharge": Overcharge,
    "garbage": Garbage,
    "truncated": Truncated,
    "oversized": Oversized,
    "pickle": Pickle,
    "zip-slip": ZipSlip,
    "stale": Stale,
    "replay": Replay,
    "wrong-shape": WrongShape,
    "nan": NotANumber,
    "zero": Zero,
    "flip": Flip,
    "scale": Scale,
    "label-flip": LabelFlip,
    "bad-features": BadFeatures,
}
SLOW = "slow"  # the only kind that takes a parameter
MAX_SLOWNESS = 1000.0


def make_fault(name: str, folder: Path) -> Fault:
    """Returns the fault of the provider whose working folder is `folder`.

    `name` is one that `parse_faults` returns, or empty for an honest provider. Raises DevnetError if there is no such
    fault.
    """
    return _known(name, folder) if name else Fault(folder)


def _known(name: str, folder: Path) -> Fault:
    kind, _, parameter = name.partition(":")
    if kind == SLOW:
        return Slow(folder, _factor(parameter))
    if name not in KINDS:
        raise DevnetError(f"There is no fault {name!r}; choose from {', '.join([*KINDS, 'slow:FACTOR'])}.")
    return KINDS[name](folder)


def parse_faults(text: str) -> tuple[str, ...]:
    """Reads `KIND[:COUNT][,KIND…]`; returns one name for each faulty provider, in order.

    A slow provider is written `slow:FACTOR[:COUNT]`. Raises DevnetError if the text has another form.
    """
    faults: list[str] = []
    for part in text.split(",") if text else []:
        kind, *numbers = part.strip().split(":")
        name = f"{kind}:{numbers.pop(0)}" if kind == SLOW and numbers else kind
        _known(name, Path())
        count = numbers.pop(0) if numbers else "1"
        if numbers or not count.isdecimal() or int(count) < 1:
            raise DevnetError(f"{part.strip()!r} is no fault with a count; write {name} or {name}:2.")
        faults += [name] * int(count)
    return tuple(faults)


def _factor(text: str) -> float:
    try:
        factor = float(text)
    except ValueError:
        factor = 0.0
    if not 1 <= factor <= MAX_SLOWNESS:
        raise DevnetError(f"slow takes a factor from 1 to {MAX_SLOWNESS:g}: slow:4, or slow:4:2 for two providers.")
    return factor
