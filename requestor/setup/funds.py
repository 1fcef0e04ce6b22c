"""Asks yagna what the wallet holds: GLM, and gas, without which no bill can be paid."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from requestor.devnet.services import find_yagna
from requestor.errors import GolemError, RequestorError, WalletEmpty
from requestor.golem import is_real_money

_PROGRAM_SECONDS = 20.0


async def require_gas(environment: Mapping[str, str], network: str, address: str) -> None:
    """Makes sure that the wallet can pay bills; does nothing if yagna cannot tell what it holds.

    The daemon itself compares only GLM with a budget: without gas, providers would be hired and never be paid.

    Args:
        environment, network, address: as for `payment_status`.

    Raises WalletEmpty if the wallet has no gas.
    """
    try:
        status = await payment_status(environment, network, address)
        amount, gas = Decimal(status["amount"]), Decimal((status.get("gas") or {}).get("balance", 1))
    except (RequestorError, OSError, ValueError, KeyError, TypeError, ArithmeticError):
        return
    if amount > 0 and gas <= 0:  # a wallet without GLM is found when the budget is reserved
        way_out = "send some to it" if is_real_money(network) else f"`yagna payment fund --network {network}` gets some"
        raise WalletEmpty(f"The wallet {address} on {network} has no gas, so that no bill could be paid: {way_out}.")


async def payment_status(environment: Mapping[str, str], network: str, address: str) -> dict[str, Any]:
    """Returns the output of `yagna payment status --json`: `amount` in GLM, `gas` with its `balance`, and more.

    Args:
        environment: environment variables that name the daemon and the app key.
        network: payment network.
        address: address of the wallet.

    Raises GolemError with the reason that yagna prints, DevnetError if yagna is not installed, and OSError if it does
    not run.
    """
    command = [str(find_yagna()), "payment", "status", "--json", "--precise"]
    command += ["--network", network, "--account", address]
    code, stdout, stderr = await run_program(command, environment)
    if code != 0:
        reasons = [line for line in stderr.splitlines() if line.startswith("Error: ")]
        raise GolemError((reasons[-1] if reasons else stderr).removeprefix("Error: ")[:200])
    status: dict[str, Any] = json.loads(stdout)
    return status


async def run_program(command: list[str], environment: Mapping[str, str] | None = None) -> tuple[int, str, str]:
    """Runs a program, and returns its exit code, stdout and stderr.

    Raises OSError if the program cannot be executed, or does not end within `_PROGRAM_SECONDS`.
    """
    process = await asyncio.create_subprocess_exec(
        *command,
        env={**os.environ, **(environment or {})},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        stdout, stderr = await asyncio.wait_for(process.communicate(), _PROGRAM_SECONDS)
    except asyncio.TimeoutError:
        raise OSError(f"the program did not end within {_PROGRAM_SECONDS:.0f} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode or 0, stdout.decode(errors="replace"), stderr.decode(errors="replace")
