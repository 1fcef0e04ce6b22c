"""`nima-golem doctor`: it finds what is missing, names it clearly, and blocks a run only if it must."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from image_labels import labels_of_this_version
from superblock import squashfs

from requestor.devnet.services.ports import Ports
from requestor.devnet.state import Devnet
from requestor.image.gvmi import write_image
from requestor.image.labels import VERSION_LABEL
from requestor.setup.doctor import GolemSetup, _funds

pytestmark = pytest.mark.golem

CHECKS = [
    *("folders", "versions", "yagna", "network", "daemon", "app key", "funds", "gftp", "image", "image host", "disk"),
    *("devnet: sandbox", "devnet: chain", "devnet: images"),
]


def doctor(environment: dict[str, str], *options: str, within: tuple[str, ...] = ()) -> tuple[int, dict[str, Any]]:
    """Returns the exit code, and the findings by check."""
    command = [*within, sys.executable, "-m", "requestor.commands.main", "doctor", "--json", *options]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert "Traceback" not in done.stderr
    result = json.loads(done.stdout)
    assert (done.returncode == 0) == result["ok"]
    return done.returncode, {finding["check"]: finding for finding in result["findings"]}


def on(devnet: Devnet, **changes: str) -> dict[str, str]:
    return os.environ | devnet.environment() | changes


@pytest.mark.usefixtures("chain_programs")
def test_a_running_devnet_is_found_without_any_setting(devnet: Devnet) -> None:
    bare = {name: os.environ[name] for name in ("PATH", "HOME", "XDG_DATA_HOME")}
    code, found = doctor(bare)
    assert code == 0, found
    assert list(found) == CHECKS
    assert {check: finding["level"] for check, finding in found.items() if "devnet:" not in check} == dict.fromkeys(
        CHECKS[:11], "ok"
    )
    assert devnet.requestor.node_id in found["funds"]["found"]
    assert re.search(r"^(1000|9\d\d\.\d+) tGLM on hoodi", found["funds"]["found"])  # other tests may have spent some
    assert found["image host"]["found"].endswith("its hash is right")
    assert not any(finding["advice"] for finding in found.values() if finding["level"] == "ok")


def test_it_says_the_same_to_people(devnet: Devnet) -> None:
    command = [sys.executable, "-m", "requestor.commands.main", "doctor"]
    good = subprocess.run(command, env=on(devnet), capture_output=True, text=True, timeout=60)
    assert (good.returncode, good.stderr) == (0, "")
    assert "✓ funds" in good.stdout
    bad = subprocess.run(command, env=on(devnet, YAGNA_APPKEY="x"), capture_output=True, text=True, timeout=60)
    assert (bad.returncode, bad.stderr) == (1, "A run is not possible. Repair: app key.\n")
    assert "✗ app key" in bad.stdout
    assert "→ make one with `yagna app-key create nima-golem`" in bad.stdout


def test_on_a_machine_with_nothing_each_finding_says_what_to_do(tmp_path: Path) -> None:
    with Ports() as ports:  # a port without a daemon, even if one runs on this machine
        nothing = {"PATH": "/nowhere", "HOME": str(tmp_path), "YAGNA_API_URL": f"http://127.0.0.1:{ports.take()}"}
    code, found = doctor(nothing)
    assert code == 1
    levels = {check: finding["level"] for check, finding in found.items()}
    assert [check for check, level in levels.items() if level == "blocked"] == ["daemon", "image"]
    assert [check for check, level in levels.items() if level == "skipped"] == ["app key", "funds"]
    assert [levels[f"devnet: {part}"] for part in ("sandbox", "chain", "images")] == ["warning"] * 3
    assert all(finding["advice"] for finding in found.values() if finding["level"] in ("blocked", "warning"))
    assert found["daemon"]["advice"].startswith("start a local Golem with `nima-golem devnet up --detach`")


def test_folders_that_cannot_be_written_are_said_first(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code, found = doctor({"PATH": "/nowhere", "HOME": str(tmp_path / "file"), "YAGNA_API_URL": "http://127.0.0.1:1"})
    assert (code, next(iter(found)), found["folders"]["level"]) == (1, "folders", "blocked")
    assert "HOME" in found["folders"]["advice"]


def test_without_user_namespaces_the_devnet_will_not_do(tmp_path: Path) -> None:
    forbid = 'echo 0 > /proc/sys/user/max_user_namespaces; exec "$@"'
    within = ("unshare", "--user", "--map-root-user", "/bin/sh", "-c", forbid, "sh")
    _, found = doctor({"PATH": os.environ["PATH"], "HOME": str(tmp_path)}, within=within)
    assert found["devnet: sandbox"]["level"] == "warning"
    assert "user.max_user_namespaces above 0" in found["devnet: sandbox"]["found"]


@pytest.mark.usefixtures("chain_programs")
@pytest.mark.parametrize(
    ("changes", "options", "check", "level", "text"),
    [
        ({"YAGNA_APPKEY": "wrong"}, (), "app key", "blocked", "does not know the app key"),
        ({"YAGNA_API_URL": "http://127.0.0.1:1"}, (), "daemon", "blocked", "No yagna daemon answers"),
        ({}, ("--network", "holesky"), "network", "warning", "has been shut down"),
        ({"YAGNA_PAYMENT_NETWORK": "goerli"}, (), "network", "blocked", "is not a known network"),
        ({}, ("--network", "polygon"), "funds", "warning", "Chain polygon not found"),
        ({"NIMA_GOLEM_IMAGE": ""}, (), "image", "blocked", "NIMA_GOLEM_IMAGE is not set"),
        ({"NIMA_GOLEM_IMAGE_FILE": "/nowhere"}, (), "image", "blocked", "/nowhere could not be read"),
    ],
)
def test_one_thing_is_wrong(
    devnet: Devnet, changes: dict[str, str], options: tuple[str, ...], check: str, level: str, text: str
) -> None:
    code, found = doctor(on(devnet, **changes), *options)
    assert (found[check]["level"], code) == (level, 1 if level == "blocked" else 0)
    assert text in found[check]["found"]
    assert found[check]["advice"]


@pytest.mark.usefixtures("chain_programs")
def test_an_empty_wallet_blocks(devnet: Devnet, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in devnet.environment().items():
        monkeypatch.setenv(name, value)
    finding = asyncio.run(_funds(GolemSetup.of_environment(None), f"0x{40 * 'a'}"))
    assert (finding.level, finding.found.split(",")[0]) == ("blocked", "0 tGLM on hoodi")
    assert "yagna payment fund" in finding.advice


def test_an_image_that_is_not_what_it_is_called_blocks(devnet: Devnet, tmp_path: Path) -> None:
    wrong = f"hash:sha3:{56 * '0'}:{devnet.image_url}"
    code, found = doctor(on(devnet, NIMA_GOLEM_IMAGE=wrong))
    assert (code, found["image host"]["level"]) == (1, "blocked")
    assert f"and NIMA_GOLEM_IMAGE names {56 * '0'}" in found["image host"]["found"]
    code, found = doctor(on(devnet, NIMA_GOLEM_IMAGE=f"hash:sha3:{devnet.image_hash}:{devnet.image_url}x"))
    assert (code, found["image host"]["level"]) == (1, "blocked")
    assert "answers 404" in found["image host"]["found"]


def test_an_image_of_another_version_blocks(devnet: Devnet, tmp_path: Path) -> None:
    (tmp_path / "squashfs").write_bytes(squashfs())
    labels = labels_of_this_version() | {VERSION_LABEL: "0.0.1"}
    info = write_image(tmp_path / "squashfs", {"Labels": labels}, tmp_path / "provider.gvmi")
    package = f"hash:sha3:{info.sha3_224}:{devnet.image_url}"
    code, found = doctor(on(devnet, NIMA_GOLEM_IMAGE=package, NIMA_GOLEM_IMAGE_FILE=str(info.path)))
    assert (code, found["image"]["level"]) == (1, "blocked")
    assert "holds nima-golem 0.0.1" in found["image"]["found"]


def test_an_image_that_only_this_machine_can_reach_blocks_the_public_network(devnet: Devnet, tmp_path: Path) -> None:
    elsewhere = on(devnet, YAGNA_API_URL="http://127.0.0.1:1")
    code, found = doctor(elsewhere)
    assert (code, found["image host"]["level"]) == (1, "blocked")
    assert "can be reached from this machine only" in found["image host"]["found"]
