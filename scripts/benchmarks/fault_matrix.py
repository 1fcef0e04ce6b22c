"""Measures what hostile providers do to a training: one devnet run per kind of fault, compared with an honest one.

    python scripts/benchmarks/fault_matrix.py tiny-ava matrix    # all kinds, 3 of 8 providers each; 1 to 2 h
    python scripts/benchmarks/fault_matrix.py tiny-ava matrix --kinds flip,scale

Prints a row as each run ends, or with `--json` one object at the end, and keeps the results in the output folder's
`matrix.json`, beside each run's own folder. Kinds that have a result there are not run again. The required outcome:
every run ends by itself, with a test SRCC within 0.02 of the honest one's, within the budget, and with a charge on the
wallet that equals the ledger's to the last digit. The exit code is 1 if a run fails this.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import click

from requestor.devnet import NetworkOptions, requestor_wallet, settle_bills, start_devnet, stop_devnet
from requestor.devnet.faults.kinds import KINDS
from requestor.records import Ledger

HONEST, HONEST_EMBED = "honest", "honest-embed"
ALL = (*KINDS, "slow:4")
EMBED = (HONEST_EMBED, "bad-features")  # wrong features can be sent only if features are asked for
TOLERANCE = 0.02  # of the SRCC: the greatest loss that is good
RUN_SECONDS = 2 * 3600.0


@click.command()
@click.argument("ava", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("output", type=click.Path(path_type=Path, file_okay=False))
@click.option("--kinds", default=",".join(ALL), help="Kinds of faults, with commas. [default: all]")
@click.option("--providers", default=8, show_default=True)
@click.option("--hostile", default=3, show_default=True)
@click.option("--rounds", default=2, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="One object on stdout; the rows go to stderr.")
def main(ava: Path, output: Path, kinds: str, providers: int, hostile: int, rounds: int, as_json: bool) -> None:
    output.mkdir(parents=True, exist_ok=True)
    os.environ["XDG_DATA_HOME"] = str(output.absolute() / "share")  # so that bans of providers hold for these runs only
    file = output / "matrix.json"
    results: dict[str, dict[str, Any]] = json.loads(file.read_text()) if file.exists() else {}
    wanted = [HONEST, *(one for kind in kinds.split(",") for one in (beside(kind), kind))]
    for kind in dict.fromkeys(wanted):
        if kind not in results:
            faults = "" if kind == beside(kind) else f"{kind}:{hostile}"
            options = NetworkOptions("fault-matrix", providers=providers, faults=faults)
            strategy = ["--strategy=embed"] if kind in EMBED else ["--strategy=federate", f"--rounds={rounds}"]
            results[kind] = run(options, ava.absolute(), output / kind.replace(":", "-"), strategy)
            file.write_text(json.dumps(results, indent=1))
        show(kind, results, to_stderr=as_json)
    if as_json:
        rows = [
            {"fault": kind, "beside": beside(kind), "good": good(kind, results), **results[kind]}
            for kind in (HONEST, HONEST_EMBED, *ALL)
            if kind in results
        ]
        click.echo(json.dumps({"providers": providers, "hostile": hostile, "rounds": rounds, "rows": rows}))
    sys.exit(0 if all(good(kind, results) for kind in results) else 1)


def beside(kind: str) -> str:
    """Returns the name of the honest run with which a kind is compared."""
    return HONEST_EMBED if kind in EMBED else HONEST


def run(options: NetworkOptions, ava: Path, folder: Path, strategy: list[str]) -> dict[str, Any]:
    """Runs one training on its own devnet, and returns its result as a JSON object."""
    devnet = start_devnet(options)
    try:
        started, before = time.monotonic(), asyncio.run(requestor_wallet(devnet))
        train = ["--budget", "2GLM", "--workers", str(options.providers), *strategy]
        try:
            done = subprocess.run(
                [
                    sys.executable,
                    "-m",
                    "requestor.commands.main",
                    "train",
                    "--ava",
                    str(ava),
                    "--run-dir",
                    str(folder),
                    *train,
                ],
                env={**os.environ, **devnet.environment(), "OMP_NUM_THREADS": "1"},
                capture_output=True,
                text=True,
                timeout=RUN_SECONDS,
            )
            code, said = done.returncode, done.stderr.strip().splitlines()[-1:]
        except subprocess.TimeoutExpired:
            code, said = -1, [f"it did not end within {RUN_SECONDS:g} s"]
        seconds = time.monotonic() - started
        accounts = asyncio.run(settle_bills(devnet, 120))
        after = asyncio.run(requestor_wallet(devnet))
    finally:
        stop_devnet(devnet)
    assert before is not None
    assert after is not None
    hostile = {account.name for account in accounts if account.fault}
    updates = [update for line in _lines(folder / "metrics.jsonl") for update in line["updates"]]
    evaluation = json.loads(_text(folder / "evaluation.json") or "{}")
    return {
        "exit_code": code,
        "said": " ".join(said),
        "seconds": round(seconds, 1),
        "srcc": evaluation.get("metrics", {}).get("srcc_mean"),
        "emd": evaluation.get("metrics", {}).get("emd_r1"),
        "moved": sum(bool(line.get("moved", True)) for line in _lines(folder / "metrics.jsonl")),
        "hostile": dict(Counter(update["kind"] for update in updates if update["provider"] in hostile)),
        "others": dict(Counter(update["kind"] for update in updates if update["provider"] not in hostile)),
        "paid_glm": str(before - after),
        "ledger_glm": str(Ledger(folder / "ledger.jsonl").spent()),
        "paid_to_hostile_glm": str(sum((one.paid for one in accounts if one.fault), Decimal(0))),
    }


def good(kind: str, results: dict[str, dict[str, Any]]) -> bool:
    """Returns whether the run of a kind has the required outcome."""
    result, honest = results[kind], results[beside(kind)]["srcc"]
    if result["exit_code"] or result["srcc"] is None or honest is None:
        return False
    paid, ledger = Decimal(result["paid_glm"]), Decimal(result["ledger_glm"])
    return result["srcc"] > honest - TOLERANCE and paid == ledger <= 2


def show(kind: str, results: dict[str, dict[str, Any]], to_stderr: bool) -> None:
    """Prints the row of a kind; the honest run's row comes after a header."""
    if kind == HONEST:
        click.echo(
            f"{'fault':<13} {'exit':>5} {'seconds':>8} {'SRCC':>7} {'change':>7} {'GLM':>9}  good  hostile updates",
            err=to_stderr,
        )
    result, honest = results[kind], results[beside(kind)]["srcc"]
    srcc = result["srcc"]
    known = srcc is not None and honest is not None
    found = ", ".join(f"{count} {verdict}" for verdict, count in sorted(result["hostile"].items()))
    click.echo(
        f"{kind:<13} {result['exit_code']:>5} {result['seconds']:>8.0f} {srcc if srcc is not None else 0:>7.4f} "
        f"{srcc - honest if known else 0:>+7.4f} {Decimal(result['paid_glm']):>9.6f}  "
        f"{'yes' if good(kind, results) else 'NO':<4}  {found} {result['said'] if result['exit_code'] else ''}",
        err=to_stderr,
    )


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in _text(path).splitlines()]


if __name__ == "__main__":
    main()
