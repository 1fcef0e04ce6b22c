"""Describes a running devnet to other programs, in one file in the devnet's folder: `devnet.json`."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nima.safe_io import data_folder, write_atomically
from requestor.errors import DevnetError
from requestor.golem import PAYMENT_DRIVER, payment_platform
from requestor.golem.gftp import gftp_on_path
from requestor.vm import PYTHON_IN_SANDBOX

DEVNET_VARIABLE = "NIMA_GOLEM_DEVNET"
DEFAULT_DEVNET = "default"
DEVNET_NETWORK = "hoodi"  # the devnet's chain takes the place of this test network
PLATFORM = payment_platform(DEVNET_NETWORK)
DEVNET_VARIABLES = (
    *(DEVNET_VARIABLE, "YAGNA_APPKEY", "YAGNA_API_URL", "GSB_URL", "YAGNA_DATADIR", "YAGNA_PAYMENT_NETWORK"),
    *("YAGNA_PAYMENT_DRIVER", "YAGNA_SUBNET", "NIMA_GOLEM_IMAGE", "NIMA_GOLEM_IMAGE_URL", "NIMA_GOLEM_IMAGE_HASH"),
    *("NIMA_GOLEM_IMAGE_FILE", "NIMA_GOLEM_PYTHON"),
)
"""The variables that `nima-golem devnet env` sets for a devnet, besides PATH."""


@dataclass(frozen=True)
class NodeState:
    """Describes one daemon: its addresses, id, key and folder. `fault`: its provider's fault; empty without one."""

    name: str
    node_id: str
    api_url: str
    gsb_url: str
    app_key: str
    folder: str
    fault: str = ""


@dataclass(frozen=True)
class ChainState:
    """Describes the local chain: its JSON-RPC endpoint, and the address of its GLM token."""

    url: str
    token: str


@dataclass(frozen=True)
class Devnet:
    """Describes a devnet that is ready, or that was ready before it ended.

    Attributes:
        name: name of the devnet.
        folder: its folder.
        pid, pid_started: process id of its supervisor, and the start of that process in clock ticks since boot, because
            ids are used again.
        subnet: the subnet of all its nodes.
        requestor: the daemon of the requestor.
        providers: the daemons of the providers.
        chain: None if the machine has no chain; then allocations are not checked, and nothing is settled.
        image_url, image_hash: address and SHA3-224 (hexadecimal) of the image, or of a placeholder.
        image_file: the image in which tasks run; empty if they run on this machine's own system.
        python: absolute path of the Python that tasks have.
        owner: as in `NetworkOptions`.
    """

    name: str
    folder: str
    pid: int
    pid_started: int
    subnet: str
    requestor: NodeState
    providers: tuple[NodeState, ...]
    chain: ChainState | None
    image_url: str
    image_hash: str
    image_file: str = ""
    python: str = PYTHON_IN_SANDBOX
    owner: int = 0

    @property
    def logs(self) -> Path:
        """Returns the folder that holds the log files."""
        return Path(self.folder) / "logs"

    @property
    def running(self) -> bool:
        """Returns whether its supervisor still runs."""
        return process_started(self.pid) == self.pid_started

    def environment(self) -> dict[str, str]:
        """Returns the variables that a program needs to use this devnet: yapapi's, and those of this project."""
        return {
            "YAGNA_APPKEY": self.requestor.app_key,
            "YAGNA_API_URL": self.requestor.api_url,
            "GSB_URL": self.requestor.gsb_url,
            "YAGNA_DATADIR": self.requestor.folder,  # for the `yagna` command
            "YAGNA_PAYMENT_NETWORK": DEVNET_NETWORK,
            "YAGNA_PAYMENT_DRIVER": PAYMENT_DRIVER,
            "YAGNA_SUBNET": self.subnet,
            "NIMA_GOLEM_IMAGE": f"hash:sha3:{self.image_hash}:{self.image_url}",
            "NIMA_GOLEM_IMAGE_URL": self.image_url,
            "NIMA_GOLEM_IMAGE_HASH": self.image_hash,
            "NIMA_GOLEM_IMAGE_FILE": self.image_file,
            "NIMA_GOLEM_PYTHON": self.python,
            **gftp_on_path(Path(self.folder) / "bin"),
        }

    def save(self) -> None:
        """Writes the state file of the devnet."""
        content = json.dumps(asdict(self), indent=2).encode()
        write_atomically(devnet_state_file(self.name), content, mode=0o600)  # for its owner only: it holds the app keys

    @classmethod
    def load(cls, path: Path) -> Devnet:
        """Reads the state file of a devnet. Raises DevnetError if `path` is no such file."""
        try:
            value: dict[str, Any] = json.loads(path.read_text())
            return cls(
                **{
                    **value,
                    "requestor": NodeState(**value["requestor"]),
                    "providers": tuple(NodeState(**node) for node in value["providers"]),
                    "chain": ChainState(**value["chain"]) if value["chain"] else None,
                }
            )
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise DevnetError(f"{path} is not a devnet's state ({error}); delete its folder.") from error


def devnets_folder() -> Path:
    """Returns the folder that holds a folder for each devnet of this user."""
    return data_folder() / "devnets"


def devnet_folder(name: str) -> Path:
    """Returns the folder of the devnet `name`. Raises DevnetError if `name` cannot be the name of a folder."""
    if not name or not all(letter.isalnum() or letter in "-_" for letter in name) or len(name) > 40:
        raise DevnetError(f"{name!r} is no name for a devnet: use up to 40 letters, digits, - and _.")
    return devnets_folder() / name


def devnet_state_file(name: str) -> Path:
    """Returns the path of the state file of the devnet `name`. Raises DevnetError if the name cannot be one."""
    return devnet_folder(name) / "devnet.json"


def running_devnets() -> list[Devnet]:
    """Returns all running devnets, by name. Skips files of killed devnets and of other versions of this program."""
    found = []
    for path in sorted(devnets_folder().glob("*/devnet.json")):
        with contextlib.suppress(DevnetError):
            found.append(Devnet.load(path))
    return [devnet for devnet in found if devnet.running]


def find_devnet(name: str | None = None) -> Devnet | None:
    """Returns the running devnet `name`, or the one that NIMA_GOLEM_DEVNET names, or the only one that runs.

    If several run and none is named, returns the one called `default`; raises DevnetError if there is none of this
    name. Returns None if no devnet runs, or none of the given name. A devnet that has an owner is found by name only.
    """
    name = name or os.environ.get(DEVNET_VARIABLE)
    running = running_devnets()
    if name:
        return next((devnet for devnet in running if devnet.name == name), None)
    running = [devnet for devnet in running if not devnet.owner]
    if len(running) > 1:
        default = next((devnet for devnet in running if devnet.name == DEFAULT_DEVNET), None)
        if default is None:
            names = ", ".join(devnet.name for devnet in running)
            raise DevnetError(f"Several devnets run ({names}): name one with --name or {DEVNET_VARIABLE}.")
        return default
    return running[0] if running else None


def devnet_of_variables(environment: Mapping[str, str]) -> str | None:
    """Returns the name of the devnet of which `nima-golem devnet env` made these variables; None if it made none."""
    folder = Path(environment.get("YAGNA_DATADIR", ""))
    home = devnets_folder()
    return folder.relative_to(home).parts[0] if folder != home and folder.is_relative_to(home) else None


def process_started(pid: int) -> int | None:
    """Returns the start of the process `pid` in clock ticks since boot; None if it does not run or is a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if fields[0] in (b"Z", b"X") else int(fields[19])
