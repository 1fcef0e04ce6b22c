"""`nima-golem doctor`: is everything there that a run needs, and what to do where it is not."""

from __future__ import annotations

import asyncio
import json

import click

from requestor.golem.networks import DEFAULT_NETWORK, TOKENS
from requestor.tables import field_lines, terminal_width

_MARKS = {"ok": "✓", "warning": "!", "blocked": "✗", "skipped": "-"}
_WIDTH = 17  # of the mark and the longest name of a check, as they are shown one by one


@click.command(short_help="Check the whole set-up, and say what to do.")
@click.option("--network", type=click.Choice(list(TOKENS)),
              help=f"Payment network. [default: the devnet's, or {DEFAULT_NETWORK}]")  # fmt: skip
@click.option("--download-image", is_flag=True, help="Download the provider image, to check its hash.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def doctor(network: str | None, download_image: bool, as_json: bool) -> None:
    """Check what a run needs: programs, daemon, app key, money, provider image, disk, and what the devnet needs.

    Nothing is spent or changed. Uses a running devnet where no other Golem is set. The exit code is 1 if something
    stands in the way of a run (✗); what only some may miss is marked with !.

    \b
    Examples:
        nima-golem doctor
        nima-golem doctor --network polygon --json
    """
    from requestor.doctor import Setup, examine
    from requestor.finding import Finding

    async def look() -> list[Finding]:
        findings = []
        async for finding in examine(Setup.of_environment(network), download_image):
            findings.append(finding)
            if not as_json:
                _show(finding)
        return findings

    def _show(finding: Finding) -> None:
        fields = [(f"{_MARKS[finding.level]} {finding.check}", " ".join(finding.found.split()))]
        if finding.advice:
            fields.append(("", f"→ {finding.advice}"))
        click.echo("\n".join(field_lines(fields, terminal_width(), name_width=_WIDTH)))

    findings = asyncio.run(look())
    blocked = [finding.check for finding in findings if finding.level == "blocked"]
    if as_json:
        click.echo(json.dumps({"ok": not blocked, "findings": [finding.to_json() for finding in findings]}))
    elif blocked:
        click.echo(f"In the way: {', '.join(blocked)}.", err=True)
    if blocked:
        raise SystemExit(1)
