"""`nima-golem doctor`: is everything there that a run needs, and what to do where it is not."""

from __future__ import annotations

import asyncio
import json
import textwrap

import click

from requestor.golem.networks import DEFAULT_NETWORK, TOKENS

_MARKS = {"ok": "✓", "warning": "!", "blocked": "✗", "skipped": "-"}
_WIDTH = 17


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
        text = textwrap.fill(finding.found, 120, subsequent_indent=" " * (_WIDTH + 2), break_long_words=False)
        click.echo(f"{_MARKS[finding.level]} {finding.check:<{_WIDTH}}{text}")
        if finding.advice:
            click.echo(f"{'':<{_WIDTH + 2}}→ {finding.advice}")

    findings = asyncio.run(look())
    blocked = [finding.check for finding in findings if finding.level == "blocked"]
    if as_json:
        click.echo(json.dumps({"ok": not blocked, "findings": [finding.to_json() for finding in findings]}))
    elif blocked:
        click.echo(f"In the way: {', '.join(blocked)}.", err=True)
    if blocked:
        raise SystemExit(1)
