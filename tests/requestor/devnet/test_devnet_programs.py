"""The devnet as users run it: the command line, and yapapi programs that know nothing of this project."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from devnet_processes import gone, processes_of
from golem_requestor import Requestor

from requestor.devnet.network import NetworkOptions
from requestor.devnet.services.ethereum import Erc20Token, EthereumNode
from requestor.devnet.state import Devnet, find_devnet, running_devnets
from requestor.devnet.supervision import start_devnet, stop_devnet
from requestor.errors import DevnetError

pytestmark = pytest.mark.golem

PROGRAM = Path(__file__).parents[3] / "docs" / "examples" / "hello_golem.py"


def nima_golem(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs the command line, with a time limit."""
    script = "from requestor.commands.main import main; main()"
    return subprocess.run(
        [sys.executable, "-c", script, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **variables},
    )


def golem_json(*arguments: str) -> Any:
    ended = nima_golem(*arguments, "--json")
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def run_program(devnet: Devnet, tmp_path: Path, *flags: str) -> dict[str, Any]:
    """Runs the program in a shell that has evaluated `devnet env`, and checks the files that it returns."""
    source = tmp_path / "data"
    source.write_bytes(os.urandom(3_000_001))
    exports = nima_golem("devnet", "env", "--name", devnet.name)
    assert exports.returncode == 0, exports.stderr
    shell = f'{exports.stdout}\nexec "$@"'
    ended = subprocess.run(
        ["/bin/sh", "-c", shell, "sh", sys.executable, str(PROGRAM), str(source), str(tmp_path), *flags],
        capture_output=True,
        text=True,
        timeout=120,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
    )
    assert ended.returncode == 0, ended.stderr
    for index in range(3):
        assert (tmp_path / f"twice-{index}").read_bytes() == source.read_bytes() * 2
    report: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    report["expected"] = f"{hashlib.sha256(source.read_bytes()).hexdigest()}  data\n3000001\n"
    return report


@pytest.mark.usefixtures("chain_programs")
def test_a_yapapi_program_runs_unchanged_and_its_invoices_are_paid_on_the_chain(devnet: Devnet, tmp_path: Path):
    assert devnet.chain is not None
    token = Erc20Token(EthereumNode(devnet.chain.url), devnet.chain.token)

    def wallets() -> dict[str, Decimal]:
        nodes = (devnet.requestor, *devnet.providers)
        return {node.node_id: asyncio.run(token.balance_of(node.node_id)) for node in nodes}

    def accounts() -> dict[str, dict[str, Any]]:
        return {item["node_id"]: item for item in golem_json("devnet", "settle", "--name", devnet.name)["providers"]}

    earlier, before = accounts(), wallets()
    report = run_program(devnet, tmp_path)
    assert report["outputs"] == [report["expected"]] * 3
    accepted = {provider: Decimal(amount) for provider, amount in report["accepted"].items()}
    assert accepted
    assert all(amount > 0 for amount in accepted.values())

    settled = accounts()
    earned = {
        provider: balance - before[provider] for provider, balance in wallets().items() if balance != before[provider]
    }
    assert earned.pop(devnet.requestor.node_id) == -sum(accepted.values())
    assert earned == accepted
    for node_id, account in settled.items():  # other tests may have left bills that are not paid
        amounts = ("invoiced", "accepted", "paid", "wallet")
        gained = {what: Decimal(account[what]) - Decimal(earlier[node_id][what]) for what in amounts}
        assert gained == dict.fromkeys(amounts, accepted.get(node_id, Decimal(0)))


def test_output_is_streamed(devnet: Devnet, tmp_path: Path):
    report = run_program(devnet, tmp_path, "--stream")
    assert report["streamed"].count(report["expected"]) == 3


@pytest.mark.usefixtures("chain_programs")
def test_status(devnet: Devnet):
    status = golem_json("devnet", "status", "--name", devnet.name)
    assert status["chain"] is True
    assert [provider["name"] for provider in status["providers"]] == ["amber-otter", "brave-heron", "calm-lynx"]
    assert {provider["state"] for provider in status["providers"]} <= {"idle", "initialized", "computing"}
    shown = nima_golem("devnet", "status", "--name", devnet.name)
    assert "amber-otter" in shown.stdout


def test_what_env_exports(devnet: Devnet):
    variables = golem_json("devnet", "env", "--name", devnet.name)
    assert variables["NIMA_GOLEM_DEVNET"] == devnet.name
    assert variables["YAGNA_API_URL"] == devnet.requestor.api_url
    assert variables["YAGNA_PAYMENT_NETWORK"] == "hoodi"
    digest, url = variables["NIMA_GOLEM_IMAGE"].removeprefix("hash:sha3:").split(":", 1)
    assert (digest, url) == (variables["NIMA_GOLEM_IMAGE_HASH"], variables["NIMA_GOLEM_IMAGE_URL"])
    assert subprocess.run(["gftp", "version"], env=variables, capture_output=True).returncode == 0


def test_a_name_is_taken_while_its_devnet_runs(devnet: Devnet):
    with pytest.raises(DevnetError, match="runs already"):
        start_devnet(NetworkOptions(devnet.name, providers=1))
    assert devnet.running


@pytest.fixture
def clean(devnets_home: Path) -> Iterator[None]:
    """Stops all devnets that the test starts."""
    before = {found.pid for found in running_devnets()}
    yield
    for started in running_devnets():
        if started.pid not in before:
            stop_devnet(started)


@pytest.mark.usefixtures("chain_programs")
def test_devnets_run_side_by_side_and_leave_nothing(devnet: Devnet, clean: None):
    ended = nima_golem("devnet", "up", "--detach", "--providers", "1", "--name", "beside", "--unfunded")
    assert ended.returncode == 0, ended.stderr
    beside = find_devnet("beside")
    assert beside is not None
    assert {found.name for found in running_devnets()} >= {"beside", devnet.name}
    assert not {beside.requestor.api_url, beside.requestor.gsb_url} & {
        devnet.requestor.api_url,
        devnet.requestor.gsb_url,
    }
    assert golem_json("devnet", "status", "--name", "beside")["requestor"]["wallet"] == "0"

    ended = nima_golem("devnet", "down", "--name", "beside")
    assert ended.returncode == 0, ended.stderr
    assert not beside.running
    assert gone("beside")
    assert [path.name for path in sorted(Path(beside.folder).iterdir())] == ["lock", "logs"]
    assert devnet.running
    ended = nima_golem("devnet", "status", "--name", "beside")
    assert ended.returncode == 1
    assert ended.stderr == (
        "Error: No devnet named beside is running. Start one with `nima-golem devnet up --detach`.\n"
    )


def test_nothing_outlives_a_killed_supervisor(clean: None):
    killed = start_devnet(NetworkOptions("killed", providers=1))
    assert processes_of("killed")
    os.kill(killed.pid, signal.SIGKILL)
    assert gone("killed")
    assert find_devnet("killed") is None, "what it left behind is no devnet"
    ended = nima_golem("devnet", "down", "--name", "killed")
    assert "was killed earlier" in ended.stdout
    again = start_devnet(NetworkOptions("killed", providers=1))
    assert again.running


def test_a_provider_that_is_stopped_says_good_bye(clean: None):
    leaving = start_devnet(NetworkOptions("leaving", providers=1))
    agent = json.loads((Path(leaving.folder) / "agents" / leaving.providers[0].name / "agent.json").read_text())

    async def use() -> dict[str, Any]:
        async with Requestor.on(leaving) as requestor:
            agreement = await requestor.agree()
            await requestor.create_activity(agreement)
            os.kill(agent["pid"], signal.SIGTERM)
            return await requestor.termination(agreement)

    assert asyncio.run(use())["golem.provider.code"] == "Shutdown"
    (provider,) = golem_json("devnet", "status", "--name", "leaving")["providers"]
    assert provider["state"] == "stopped"
    assert leaving.running


def test_help_imports_nothing_heavy():
    script = (
        "import sys; from requestor.commands.main import main; main(['devnet', '--help'], standalone_mode=False); "
        "print({'torch', 'yapapi', 'aiohttp'} & set(sys.modules))"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert ended.stdout.splitlines()[-1] == "set()"


def test_ctrl_c_stops_a_devnet_in_the_foreground(devnets_home: Path):
    script = "from requestor.commands.main import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", script, "devnet", "up", "--providers", "1", "--name", "shown"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if "Ctrl-C stops the devnet" in line:
                break
        process.send_signal(signal.SIGINT)
        _, rest = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    assert rest.splitlines()[-1].startswith("Error: The devnet is stopped. Its logs are kept in ")
    assert gone("shown")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("up", "--name", "../x"), "Error: '../x' is no name for a devnet: use up to 40 letters, digits, - and _.\n"),
        (("down", "--name", "none"), "Error: No devnet named none is running. Start one with"),
        (("env", "--name", "none"), "Error: No devnet named none is running. Start one with"),
        (("logs", "--name", "none"), "Error: There is no such log in "),
    ],
)
def test_mistakes_get_one_sentence(devnets_home: Path, arguments: tuple[str, ...], message: str):
    ended = nima_golem("devnet", *arguments)
    assert ended.returncode == 1
    assert ended.stderr.startswith(message)
    assert ended.stderr.count("\n") == 1


def test_a_chain_is_not_needed(clean: None, tmp_path: Path, monkeypatch: Any):
    """Without npm there is no chain: programs run all the same, and nothing is settled."""
    monkeypatch.setenv("NIMA_GOLEM_CACHE", str(tmp_path / "empty"))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "unshare").symlink_to(shutil.which("unshare") or "")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    ended = nima_golem("devnet", "up", "--detach", "--providers", "1", "--name", "chainless")
    assert ended.returncode == 0, ended.stderr
    assert "It has no chain" in ended.stdout
    assert all(part in ended.stdout for part in ("http://127.0.0.1:", "app key", "amber-otter", "devnet env"))
    assert "… agents of the providers" in ended.stderr
    chainless = find_devnet("chainless")
    assert chainless is not None
    assert chainless.chain is None
    assert run_program(chainless, tmp_path)["accepted"]
    ended = nima_golem("devnet", "settle", "--name", "chainless")
    assert (ended.returncode, ended.stderr.startswith("Error: This devnet has no chain")) == (1, True)
