"""The wheel holds every file of the packages, and every command explains itself from it."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("nima", "provider_image", "requestor")

# Run with the unpacked wheel in front of everything: asks every command and subcommand for its help.
ASK = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import click
from requestor.commands.main import main
assert Path(sys.modules[main.callback.__module__].__file__).is_relative_to(sys.argv[1])

def ask(command, path):
    assert main.main([*path, "--help"], prog_name="nima-golem", standalone_mode=False) in (None, 0)
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            ask(command.get_command(context, name), [*path, name])

ask(main, [])
from requestor.html_templates import templates_of
for package, page in (("requestor.scoring", "contact_sheet.html"), ("requestor.scoring.serving", "page.html")):
    assert templates_of(package).get_template(page).filename.startswith(sys.argv[1])
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's wheel, unpacked."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)],
        cwd=ROOT, check=True, capture_output=True,
    )  # fmt: skip
    (path,) = folder.glob("*.whl")
    zipfile.ZipFile(path).extractall(folder / "unpacked")
    return folder / "unpacked"


def files(folder: Path) -> set[str]:
    found = (path for package in PACKAGES for path in (folder / package).rglob("*") if path.is_file())
    return {str(path.relative_to(folder)) for path in found if "__pycache__" not in path.parts}


def test_the_wheel_holds_all_files_of_the_packages(wheel: Path) -> None:
    assert files(wheel) == files(ROOT)
    assert any(name.endswith(".html") for name in files(wheel))


def test_every_command_explains_itself_from_the_wheel(wheel: Path, tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", ASK, str(wheel)], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Usage: nima-golem ") > 30
