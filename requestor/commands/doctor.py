"""`nima-golem doctor`: checks everything that a run needs, and says how to repair what is missing."""

from __future__ import annotations

import asyncio
import json

import click

from requestor.golem import DEFAULT_NETWORK, TOKEN_OF_NETWORK
from requestor.terminal import field_lines, terminal_width

_MARKS = {"ok": "✓", "warning": "!", "blocked": "✗", "skipped": "-"}
_WIDTH = 17  # of the mark and the longest name of a check, as they are shown one by one


@click.command()
@click.option("--network", type=click.Choice(list(TOKEN_OF_NETWORK)),
              help=f"Payment network. [default: the devnet's, or {DEFAULT_NETWORK}]")  # fmt: skip
@click.option("--download-image", is_flag=True, help="Download the provider image to check its hash.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
def doctor(network: str | None, download_image: bool, as_json: bool) -> None:
    """Check what a run needs: programs, daemon, app key, money, provider image and disk, and what a devnet needs.

    The command spends and changes nothing. It uses a running devnet if no other Golem is set. The exit code is 1 if
    something makes a run impossible (✗). Something that only some users need is marked with !.

    \b
    Examples:
        nima-golem doctor
        nima-golem doctor --network polygon --json
    """
    from requestor.setup import GolemSetup, SetupFinding, check_setup

    async def look() -> list[SetupFinding]:
        findings = []
        async for finding in check_setup(GolemSetup.of_environment(network), download_image):
            findings.append(finding)
            if not as_json:
                _show(finding)
        return findings

    def _show(finding: SetupFinding) -> None:
        fields = [(f"{_MARKS[finding.level]} {finding.check}", " ".join(finding.found.split()))]
        if finding.advice:
            fields.append(("", f"→ {finding.advice}"))
        click.echo("\n".join(field_lines(fields, terminal_width(), name_width=_WIDTH)))

    findings = asyncio.run(look())
    blocked = [finding.check for finding in findings if finding.level == "blocked"]
    if as_json:
        click.echo(json.dumps({"ok": not blocked, "findings": [finding.to_json() for finding in findings]}))
    elif blocked:
        click.echo(f"A run is not possible. Repair: {', '.join(blocked)}.", err=True)
        if "daemon" in blocked:
            click.echo("The nearest way is a Golem on this machine: nima-golem devnet up --detach", err=True)
    if blocked:
        raise SystemExit(1)
