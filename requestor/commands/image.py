"""`nima-golem image`: builds, inspects, verifies and pushes the image that providers run."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from nima.wire import JobKind
from requestor.terminal import Column, field_lines, table_lines, terminal_width

if TYPE_CHECKING:
    from requestor.image import ImageInfo, ImagePart
    from requestor.vm.machine import MachineOptions

_PART_COLUMNS = (Column("MB before compression", "right"), Column("part", if_narrow="fold"))
_CHECK_WIDTH = 11  # of the longest name of a check, as they are shown one by one
_IMAGE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.group()
def image() -> None:
    """Build, inspect, verify and push the image that providers run.

    It is a file system with Python, PyTorch and this project's program for jobs.

    \b
    Examples:
        nima-golem image build --output provider.gvmi
        nima-golem image verify provider.gvmi
        nima-golem image push provider.gvmi --tag me/nima-golem:0.1.0
    """


@image.command(short_help="Build the image with Docker, Podman or Buildah.")
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("provider.gvmi"),
    show_default=True,
    help="Write the image to this file.",
)
@click.option(
    "--base", help="Container image to start from: Debian 12 with Python 3.11 and pip.  [default: python:3.11]"
)
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="MODEL",
    help="Include this model, a file or a name, so that it is not sent with each job. Can be repeated.",
)
@click.option("--json", "as_json", is_flag=True, help="Print what `info --json` prints for the new image.")
def build(output: Path, base: str | None, models: tuple[str, ...], as_json: bool) -> None:
    """Build the image from this checkout, and print its hash and name. Equal sources give equal images.

    \b
    Examples:
        nima-golem image build --output provider.gvmi
        nima-golem image build --model model.safetensors          # so that it need not be sent to each provider
        nima-golem image build --base localhost/nima-golem-base   # of scripts/image/base_image, without a registry
    """
    from requestor.image_build import DEFAULT_BASE, build_image

    with _Steps() as report:
        info = build_image(output, base or DEFAULT_BASE, models, report)
    click.echo(json.dumps(_facts(info)) if as_json else f"{info.sha3_224}  {info.path}")


@image.command(short_help="Show the contents and the hash of an image.")
@click.argument("file", type=_IMAGE)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def info(file: Path, as_json: bool) -> None:
    """Show the container config of FILE, its size, its hash (which the demand names), and the size of its parts.

    \b
    Examples:
        nima-golem image info provider.gvmi
        nima-golem image info --json provider.gvmi | jq -r .sha3_224
    """
    from requestor.image import list_image_parts, read_image

    facts = _facts(read_image(file))
    # The config is useful without the tools that read the file system.
    parts = list_image_parts(file) if shutil.which("unsquashfs") else None
    if as_json:
        listed = None if parts is None else [vars(part) for part in parts]
        click.echo(json.dumps(facts | {"parts": listed}))
        return
    width = terminal_width()
    click.echo("\n".join(field_lines(((name, _in_words(value)) for name, value in facts.items()), width)))
    if parts is None:
        click.echo("Install squashfs-tools to see the size of the image's parts.", err=True)
        return
    rows = [(sum(part.size for part in parts), "everything"), *((part.size, _named(part)) for part in parts)]
    table = table_lines(_PART_COLUMNS, [[f"{size / 1e6:.1f}", name] for size, name in rows], width)
    click.echo("\n".join(["", *table]))


@image.command(short_help="Run a job of every kind in an image.")
@click.argument("file", type=_IMAGE)
@click.option("--vm", is_flag=True, help="Boot it in a virtual machine of QEMU, with a kernel, instead of a sandbox.")
@click.option(
    "--kernel",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Kernel of the virtual machine.  [default: that of Debian's package linux-image-amd64]",
)
@click.option(
    "--cpu", metavar="MODEL", help="CPU model, as QEMU names it.  [default: this machine's; Nehalem if it is emulated]"
)
@click.option(
    "--job", "kinds", multiple=True, type=click.Choice(get_args(JobKind)), help="Run only this kind. Can be repeated."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on each line.")
def verify(
    file: Path, vm: bool, kernel: Path | None, cpu: str | None, kinds: tuple[JobKind, ...], as_json: bool
) -> None:
    """Boot FILE as Golem's VM does (no network, no environment, empty volumes), and run a job of every kind in it.

    The results must be equal to those that this machine computes.

    \b
    Examples:
        nima-golem image verify provider.gvmi
        nima-golem image verify provider.gvmi --vm --cpu Haswell --job embed
    """
    from requestor.image_build import KINDS_OF_JOBS, verify_image

    if (kernel or cpu) and not vm:
        raise click.UsageError("--kernel and --cpu are of a virtual machine. Pass --vm with them.")

    async def run() -> None:
        machine = _machine(kernel, cpu) if vm else None
        async for check in verify_image(file, kinds or KINDS_OF_JOBS, machine):
            if as_json:
                click.echo(json.dumps(vars(check)))
            else:
                fields = [(check.name, f"ok  {check.found}")]
                click.echo("\n".join(field_lines(fields, terminal_width(), name_width=_CHECK_WIDTH)))

    asyncio.run(run())


def _machine(kernel: Path | None, cpu: str | None) -> MachineOptions:
    from requestor.image import TASK_MEMORY_GIB
    from requestor.vm.machine import MachineOptions, debian_kernel, read_kernel

    return MachineOptions(read_kernel(kernel) if kernel else debian_kernel(), int(TASK_MEMORY_GIB * 2**30), cpu=cpu)


@image.command(short_help="Upload an image to Golem's registry.")
@click.argument("file", type=_IMAGE)
@click.option("--tag", metavar="USER/REPOSITORY:TAG", help="Name of the image in the registry.")
@click.option(
    "--anonymous", is_flag=True, help="Upload without an account. The registry keeps the image for some days."
)
def push(file: Path, tag: str | None, anonymous: bool) -> None:
    """Upload FILE with gvmkit-build, and print the value of NIMA_GOLEM_IMAGE that names it.

    gvmkit-build asks for user and token, or reads them from REGISTRY_USER and REGISTRY_TOKEN.

    \b
    Examples:
        nima-golem image push provider.gvmi --tag me/nima-golem:0.1.0
        export NIMA_GOLEM_IMAGE=$(nima-golem image push provider.gvmi --anonymous)
    """
    from requestor.image_build import push_image

    if (tag is None) != anonymous:
        raise click.UsageError("The image needs a name. Pass either --tag USER/REPOSITORY:TAG or --anonymous.")
    click.echo(push_image(file, tag))


def _facts(info: ImageInfo) -> dict[str, Any]:
    return {
        "file": str(info.path),
        "size": info.size,
        "squashfs_size": info.squashfs_size,
        "compression": info.compression,
        "sha3_224": info.sha3_224,
        "entrypoint": [*info.entrypoint, *info.cmd],
        "env": list(info.env),
        "working_dir": info.working_dir,
        "volumes": list(info.volumes),
        "user": "{}:{}".format(*info.user),
        "labels": info.labels,
    }


def _in_words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}={text}" for name, text in value.items())
    return " ".join(str(item) for item in value) if isinstance(value, list) else str(value)


def _named(part: ImagePart) -> str:
    return " ".join(filter(None, (part.name, part.version, "(this project)" if part.kind == "ours" else "")))


class _Steps:
    """Prints each step on stderr, and the time that it took."""

    def __enter__(self) -> _Steps:
        self._doing, self._began = "", time.monotonic()
        return self

    def __call__(self, doing: str) -> None:
        self._end()
        self._doing, self._began = doing, time.monotonic()
        if sys.stderr.isatty():
            click.echo(f"         {doing} …", err=True, nl=False)

    def __exit__(self, *_: object) -> None:
        self._end()

    def _end(self) -> None:
        if self._doing:
            start = "\r" if sys.stderr.isatty() else ""
            click.echo(f"{start}{time.monotonic() - self._began:6.1f} s {self._doing}  ", err=True)
