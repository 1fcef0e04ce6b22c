"""The provider image without its packages: sources, archives, packing, listing, and refusals."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import io
import json
import os
import re
import shutil
import stat
import sys
import tarfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from image_labels import labels_of_this_version
from superblock import squashfs
from tiny_image import make_image

from nima.errors import NimaError
from nima.wire.jobs import PROTOCOL, Job
from requestor.commands.main import main
from requestor.errors import ImageError, ImageMismatch
from requestor.image.chosen import choose_image
from requestor.image.contents import list_image_parts
from requestor.image.gvmi import write_image
from requestor.image.labels import DEFAULT_PYTHON
from requestor.image.paths import JOBS_FOLDER, STORE_FOLDER
from requestor.image.squashfs import list_files, make_squashfs
from requestor.image_build.archive import unpack_archive
from requestor.image_build.build import build_image, file_hashes, gather_models, gather_sources
from requestor.image_build.builders import BUILDERS, find_builder
from requestor.image_build.verify import Check, verify_image

ROOT = Path(__file__).resolve().parents[3]
REQUIREMENTS = (ROOT / "provider_image" / "requirements.txt").read_text()
PINS = dict(line.split()[0].split("==") for line in REQUIREMENTS.splitlines() if line and not line.startswith("#"))
DOCKERFILE = (ROOT / "Dockerfile.provider").read_text()
CONFIG = {
    "Entrypoint": [DEFAULT_PYTHON, "-m", "provider_image"],
    "Volumes": {STORE_FOLDER: {}, JOBS_FOLDER: {}},
    "Labels": labels_of_this_version(),
    "WorkingDir": "/",
}
needs_squashfs = pytest.mark.skipif(
    shutil.which("mksquashfs") is None or shutil.which("unsquashfs") is None, reason="needs squashfs-tools"
)

# --- the Dockerfile


def test_the_dockerfile_says_what_the_requestor_relies_on() -> None:
    said = dict(re.findall(r"^(VOLUME|ENTRYPOINT) (.*)$", DOCKERFILE, re.M))
    assert set(json.loads(said["VOLUME"])) == {STORE_FOLDER, JOBS_FOLDER}
    assert json.loads(said["ENTRYPOINT"])[0] == DEFAULT_PYTHON
    assert f'nima-golem.python="{DEFAULT_PYTHON}"' in DOCKERFILE


def test_pytorch_is_the_one_that_the_tests_run_with() -> None:
    constraints = (ROOT / "scripts" / "environment" / "constraints.txt").read_text()
    for name in ("torch", "torchvision"):
        assert f"{name}=={PINS[name]}\n" in constraints


def module_of(package: str, name: str) -> str:
    """Returns the module from which a package's face takes a name: the face loads it when the name is asked for."""
    face = ROOT.joinpath(*package.split("."), "__init__.py")
    taken = [node for node in ast.walk(ast.parse(face.read_text())) if isinstance(node, ast.ImportFrom)]
    homes = [str(node.module) for node in taken if any(alias.name == name for alias in node.names)]
    return homes[0] if homes and homes[0] != package else f"{package}.{name}"


def test_the_pinned_packages_are_all_that_the_program_imports() -> None:
    """Checks the imports at module level; imports in functions are for the requestor's machine."""
    waiting, seen, packages = {"provider_image.__main__", "provider_image.work"}, set[str](), set[str]()
    while waiting:
        name = waiting.pop()
        seen.add(name)
        path = ROOT.joinpath(*name.split("."))
        path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        for node in ast.parse(path.read_text()).body:
            imported = []
            if isinstance(node, ast.Import):
                imported = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.module is not None
                imported = [node.module]
                if ROOT.joinpath(*node.module.split("."), "__init__.py").exists():
                    imported = [module_of(node.module, alias.name) for alias in node.names]
            for module in imported:
                if module.split(".")[0] not in ("nima", "provider_image"):
                    packages.add(module.split(".")[0])
                elif ROOT.joinpath(*module.split(".")).with_suffix(".py").exists() and module not in seen:
                    waiting.add(module)
    assert {"nima.training.loop", "nima.wire.features", "nima.wire.shards"} <= seen
    installed = {name.replace("PIL", "pillow") for name in packages - sys.stdlib_module_names}
    assert {"torch", "numpy", "pillow"} <= installed <= set(PINS)


# --- sources


def test_only_the_program_goes_into_the_image(tmp_path: Path) -> None:
    gather_sources(tmp_path / "context")
    paths = set(file_hashes(tmp_path / "context"))
    assert {path.split("/")[0] for path in paths} == {"nima", "provider_image", "Dockerfile.provider"}
    assert {Path(path).suffix for path in paths} == {".py", ".txt", ".provider"}
    assert {"nima/wire/jobs.py", "provider_image/__main__.py", "provider_image/requirements.txt"} <= paths


@contextlib.contextmanager
def umask(mode: int) -> Iterator[None]:
    before = os.umask(mode)
    try:
        yield
    finally:
        os.umask(before)


def test_sources_are_the_same_whatever_the_umask(tmp_path: Path) -> None:
    def gathered(name: str, mode: int) -> dict[str, tuple[str, int]]:
        with umask(mode):
            gather_sources(tmp_path / name)
        hashes = file_hashes(tmp_path / name)
        return {path: (digest, (tmp_path / name / path).stat().st_mode) for path, digest in hashes.items()}

    assert gathered("open", 0o000) == gathered("closed", 0o077)


# --- archives


def add(tar: tarfile.TarFile, name: str, content: bytes = b"", mode: int = 0o644) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), mode
    tar.addfile(member, io.BytesIO(content))


def layer(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            add(tar, name, content)
    return buffer.getvalue()


def archive(path: Path, layers: list[bytes], config: Mapping[str, Any]) -> Path:
    """Writes an archive as `docker save` does."""
    names = [f"{number}.tar" for number in range(len(layers))]
    with tarfile.open(path, "w") as tar:
        for name, content in zip(names, layers, strict=True):
            add(tar, name, content)
        add(tar, "config.json", json.dumps({"config": config}).encode())
        add(tar, "manifest.json", json.dumps([{"Config": "config.json", "Layers": names}]).encode())
    return path


def test_what_is_unpacked_is_the_same_whatever_the_umask(tmp_path: Path) -> None:
    path = archive(tmp_path / "image.tar", [layer({"usr/a": b"1"})], CONFIG)
    for name, mode in (("open", 0o000), ("closed", 0o077)):
        with umask(mode):
            unpack_archive(path, tmp_path / name)
        modes = [stat.S_IMODE((tmp_path / name / found).stat().st_mode) for found in (".", "usr", "usr/a")]
        assert modes == [0o755, 0o755, 0o644]


def test_an_archive_becomes_a_folder_and_a_config(tmp_path: Path) -> None:
    first = {
        "usr/a": b"1",
        "usr/b": b"old",
        "dev/null": b"",
        ".dockerenv": b"",
        "etc/hosts": b"here",
        "etc/passwd": b"x",
    }
    config = {
        **CONFIG,
        "Labels": {"nima-golem.version": "1", "io.buildah.version": "1.28.2"},
        "Hostname": "0123456789ab",
        "Cmd": None,
        "Env": ["PATH=/usr/bin"],
    }
    path = archive(tmp_path / "image.tar", [layer(first), layer({"./usr/b": b"new"})], config)
    found = unpack_archive(path, tmp_path / "root")
    assert {str(f.relative_to(tmp_path / "root")) for f in (tmp_path / "root").rglob("*") if f.is_file()} == {
        *("usr/a", "usr/b", "etc/passwd")
    }
    assert (tmp_path / "root/usr/b").read_bytes() == b"new"
    assert found == {
        **{name: CONFIG[name] for name in ("Entrypoint", "Volumes", "WorkingDir")},
        "Labels": {"nima-golem.version": "1"},
        "Env": ["PATH=/usr/bin"],
    }


@pytest.mark.parametrize(
    "make",
    [
        lambda path: path.write_bytes(b"no archive"),
        lambda path: archive(path, [b"no layer" * 1000], {}),
        lambda path: archive(path, [layer({"usr/.wh.a": b""})], {}),
        lambda path: path.write_bytes(layer({"other": b"x"})),
        lambda path: path.write_bytes(layer({"manifest.json": b"[]"})),
        lambda path: path.write_bytes(layer({"manifest.json": b'[{"Config": "nowhere", "Layers": []}]'})),
    ],
    ids=["no archive", "no layer", "a deletion", "no manifest", "no image", "no config"],
)
def test_a_strange_archive_is_refused(tmp_path: Path, make: Callable[[Path], Any]) -> None:
    path = tmp_path / "image.tar"
    make(path)
    with pytest.raises(ImageError, match=re.escape(str(path))):
        unpack_archive(path, tmp_path / "root")


# --- packing and listing


def make_tree(root: Path, date: float) -> None:
    files = {
        "opt/nima-golem/nima/wire/jobs.py": 3000,
        "opt/nima-golem/provider_image/work.py": 2000,
        "opt/nima-golem/torch/lib/libtorch.so": 90_000,
        "opt/nima-golem/torch-2.13.0+cpu.dist-info/RECORD": 100,
        "opt/nima-golem/torchgen/gen.py": 10,
        "opt/nima-golem/PIL/Image.py": 500,
        "opt/nima-golem/pillow.libs/libjpeg.so": 1500,
        "opt/nima-golem/pillow-13.0.0.dist-info/RECORD": 7,
        "usr/lib/python3.11/os.py": 400,
        "usr/lib/a name with spaces": 20,
        "etc/passwd": 30,
    }
    for name, size in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * size)
        os.utime(path, (date, date))
    (root / "bin").symlink_to("usr/bin")


@needs_squashfs
def test_equal_trees_make_equal_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = []
    for number, date in enumerate((1_000_000_000.0, 1_700_000_000.0)):
        make_tree(tmp_path / f"root{number}", date)
        make_squashfs(tmp_path / f"root{number}", tmp_path / f"{number}.squashfs")
        images.append(write_image(tmp_path / f"{number}.squashfs", CONFIG, tmp_path / f"{number}.gvmi"))
    assert images[0].sha3_224 == images[1].sha3_224
    assert images[0].compression == "gzip"
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    make_squashfs(tmp_path / "root0", tmp_path / "dated.squashfs")
    assert (tmp_path / "dated.squashfs").read_bytes() != (tmp_path / "0.squashfs").read_bytes()
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    with pytest.raises(ImageError, match="SOURCE_DATE_EPOCH"):
        make_squashfs(tmp_path / "root0", tmp_path / "dated.squashfs")


@needs_squashfs
def test_an_image_is_listed_by_parts(tmp_path: Path) -> None:
    make_tree(tmp_path / "root", 0)
    make_squashfs(tmp_path / "root", tmp_path / "root.squashfs")
    image = write_image(tmp_path / "root.squashfs", CONFIG, tmp_path / "image.gvmi")
    assert ("/usr/lib/a name with spaces", 20) in list_files(image.path)
    assert [(part.kind, part.name, part.version, part.size) for part in list_image_parts(image.path)] == [
        ("ours", "nima", "", 3000),
        ("ours", "provider_image", "", 2000),
        ("package", "torch", "2.13.0+cpu", 90_110),
        ("package", "pillow", "13.0.0", 2007),
        ("python", "Python", "", 400),
        ("system", "the rest of the system", "", 50),
    ]
    done = CliRunner().invoke(main, ["image", "info", str(image.path), "--json"])
    facts = json.loads(done.stdout)
    assert (facts["sha3_224"], facts["volumes"]) == (image.sha3_224, sorted([STORE_FOLDER, JOBS_FOLDER]))
    assert facts["parts"][0] == {"kind": "ours", "name": "nima", "version": "", "size": 3000}
    done = CliRunner().invoke(main, ["image", "info", str(image.path)])
    assert "torch 2.13.0+cpu" in done.stdout
    assert image.sha3_224 in done.stdout


def test_the_config_is_shown_without_squashfs_tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "root.squashfs").write_bytes(squashfs())
    image = write_image(tmp_path / "root.squashfs", CONFIG, tmp_path / "image.gvmi")
    monkeypatch.setenv("PATH", str(tmp_path))
    done = CliRunner().invoke(main, ["image", "info", str(image.path)])
    assert (done.exit_code, image.sha3_224 in done.stdout) == (0, True)
    assert "Install squashfs-tools" in done.stderr
    assert json.loads(CliRunner().invoke(main, ["image", "info", "--json", str(image.path)]).stdout)["parts"] is None


@needs_squashfs
def test_a_damaged_squashfs_is_refused(tmp_path: Path) -> None:
    make_tree(tmp_path / "root", 0)
    make_squashfs(tmp_path / "root", tmp_path / "root.squashfs")
    content = bytearray((tmp_path / "root.squashfs").read_bytes())
    content[64:96] = b"\xff" * 32  # where the tables are
    (tmp_path / "root.squashfs").write_bytes(content)
    image = write_image(tmp_path / "root.squashfs", CONFIG, tmp_path / "image.gvmi")
    with pytest.raises(ImageError, match="could not be listed"):
        list_image_parts(image.path)


# --- building


def test_without_a_builder_the_way_out_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ImageError, match=r"none of them is installed.*apt-get install buildah"):
        find_builder()
    broken = tmp_path / "docker"
    broken.write_text("#!/bin/sh\necho 'Cannot connect to the Docker daemon' >&2\nexit 1\n")
    broken.chmod(0o755)
    with pytest.raises(ImageError, match="docker does not work: Cannot connect to the Docker daemon"):
        find_builder()


def test_an_output_that_cannot_be_is_refused_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="there is no folder"):
        build_image(tmp_path / "nowhere" / "image.gvmi", "base", (), lambda doing: None)


@pytest.mark.skipif(not any(map(shutil.which, BUILDERS[1:])), reason="needs podman or buildah")
def test_a_failed_build_says_what_the_builder_said(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY missing /\n")
    with pytest.raises(ImageError, match=r"(?s)could not build the image.*missing"):
        find_builder().build(tmp_path, tmp_path / "Dockerfile", {})


@needs_squashfs
@pytest.mark.skipif(not any(map(shutil.which, BUILDERS[1:])), reason="needs podman or buildah")
def test_a_container_image_becomes_an_image(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(
        "ARG BASE\nFROM ${BASE}\nARG VERSION\nCOPY file /opt/\nLABEL version=${VERSION}\n"
        'VOLUME ["/golem/jobs"]\nENTRYPOINT ["/opt/file"]\n'
    )
    (tmp_path / "file").write_text("content")
    builder = find_builder()
    arguments = {"BASE": "scratch", "VERSION": "1"}
    image = builder.build(tmp_path, tmp_path / "Dockerfile", arguments)
    assert builder.layers(image) is not None
    builder.save(image, tmp_path / "image.tar")
    builder.remove(image)
    assert builder.layers(image) is None
    config = unpack_archive(tmp_path / "image.tar", tmp_path / "root")
    make_squashfs(tmp_path / "root", tmp_path / "root.squashfs")
    info = write_image(tmp_path / "root.squashfs", config, tmp_path / "image.gvmi")
    assert (info.entrypoint, info.volumes, info.labels) == (("/opt/file",), ("/golem/jobs",), {"version": "1"})
    assert list(list_files(info.path)) == [("/opt/file", 7)]


# --- verifying


def verify(path: Path) -> list[Check]:
    async def run() -> list[Check]:
        return [check async for check in verify_image(path)]

    return asyncio.run(run())


UNUSABLE = {
    "no labels": ({"Labels": {}}, "no provider image of this program"),
    "another version": ({"Labels": {**labels_of_this_version(), "nima-golem.version": "0.0.1"}}, "0.0.1"),
    "no volumes": ({"Volumes": {JOBS_FOLDER: {}}}, f"no VOLUME {STORE_FOLDER}"),
    "a relative entrypoint": ({"Entrypoint": ["python3"]}, "absolute path"),
    "no entrypoint": ({"Entrypoint": None}, "absolute path"),
    "a user": ({"User": "1000:1000"}, "user 1000"),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_an_image_that_golem_could_not_use_is_refused(tmp_path: Path, name: str) -> None:
    changes, reason = UNUSABLE[name]
    (tmp_path / "root.squashfs").write_bytes(squashfs())
    image = write_image(tmp_path / "root.squashfs", {**CONFIG, **changes}, tmp_path / "image.gvmi")
    with pytest.raises((ImageError, ImageMismatch), match=reason):
        verify(image.path)


def test_a_squashfs_that_golem_cannot_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "root.squashfs").write_bytes(squashfs(compression=6))
    image = write_image(tmp_path / "root.squashfs", CONFIG, tmp_path / "image.gvmi")
    with pytest.raises(ImageError, match="cannot read a squashfs of zstd"):
        verify(image.path)


# Shell scripts that replace Python, and the expected message about an image with each; $3 is the job's file.
BROKEN = {
    "fails": ("echo no torch >&2; exit 3", "`embed` ended with 3. It said last: no torch"),
    "is-killed": ("kill -9 $$", "`embed` ended with 9"),
    "writes-nothing": ("exit 0", "the result of the job `embed` is wrong"),
    "writes-rubbish": ("echo '{}' > ${3%/*}/result.json", "the result of the job `embed` is wrong"),
    "is-missing": (None, "/broken/is-missing could not be started"),
}


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Makes a squashfs with all of `BROKEN`."""
    folder = tmp_path_factory.mktemp("broken")
    scripts = {f"/broken/{name}": f"#!/bin/sh\n{script}\n" for name, (script, _) in BROKEN.items() if script}
    make_image(folder, CONFIG, {**scripts, "/opt/app/README": ""})
    return folder / "root.squashfs"


@pytest.mark.parametrize("name", BROKEN)
def test_a_program_that_does_not_work_is_found_out(tmp_path: Path, broken: Path, name: str) -> None:
    labels = labels_of_this_version(python=f"/broken/{name}")
    image = write_image(broken, {**CONFIG, "Labels": labels}, tmp_path / "image.gvmi")
    with pytest.raises(ImageError, match=re.escape(BROKEN[name][1])):
        verify(image.path)


# --- models in an image


def test_models_in_an_image_whose_file_is_known_need_not_be_sent(tmp_path: Path) -> None:
    (tmp_path / "root.squashfs").write_bytes(squashfs())
    labels = {**labels_of_this_version(), "nima-golem.models": f"{'a' * 64} {'b' * 64}"}
    image = write_image(tmp_path / "root.squashfs", {**CONFIG, "Labels": labels}, tmp_path / "image.gvmi")
    named = {"NIMA_GOLEM_IMAGE": f"hash:sha3:{image.sha3_224}:https://example.org/image.gvmi"}
    assert choose_image(named | {"NIMA_GOLEM_IMAGE_FILE": str(image.path)}).models == ("a" * 64, "b" * 64)
    assert choose_image(named).models == ()


def test_a_job_finds_a_model_that_was_sent_or_else_that_of_the_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from provider_image import work

    sent, own = tmp_path / "sent", tmp_path / "own"
    sent.mkdir()
    own.mkdir()
    monkeypatch.setattr(work, "IMAGE_MODELS", str(own))
    name = f"{'a' * 64}.safetensors"
    job = Job(PROTOCOL, "benchmark", "job", "mobilenet_v2", str(sent), "a" * 64, (), None, 0)
    assert work._stored(job, job.base) == sent / name
    (own / name).touch()
    assert work._stored(job, job.base) == own / name
    (sent / name).touch()
    assert work._stored(job, job.base) == sent / name


def test_only_models_can_be_put_into_an_image(tmp_path: Path) -> None:
    with pytest.raises(NimaError, match="no model"):
        gather_models(["nothing.safetensors"], tmp_path / "models")
    (tmp_path / "text.safetensors").write_text("text")
    with pytest.raises(NimaError, match=r"text\.safetensors could not be read"):
        gather_models([str(tmp_path / "text.safetensors")], tmp_path / "others")


def test_the_command_line_names_what_is_wrong(tmp_path: Path) -> None:
    broken = tmp_path / "broken.gvmi"
    broken.write_bytes(b"no image")
    for command in ("info", "verify"):
        done = CliRunner().invoke(main, ["image", command, str(broken)])
        assert done.exit_code == 1
        assert str(broken) in done.stderr
        assert done.stdout == ""
    for options in ([], ["--tag", "me/it:1", "--anonymous"]):
        done = CliRunner().invoke(main, ["image", "push", str(broken), *options])
        assert done.exit_code == 2
