"""Providers: which are banned, for how long, and how fast the others are."""

from __future__ import annotations

import json
import multiprocessing
from decimal import Decimal
from pathlib import Path
from typing import get_args

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from simulated_backend import SimulatedBackend

from nima.wire.jobs import PROTOCOL, Job
from requestor.backends.base import Outcome, Provider, Task
from requestor.commands.main import main as nima_golem
from requestor.errors import ConfigurationError
from requestor.records.round_record import OutcomeEntry, RoundEntry
from requestor.training.providers.bans import BanList, ban_list
from requestor.training.providers.standing import Providers
from requestor.training.providers.verdict import PROOF, RELATIVE, Verdict, VerdictKind

FOX, OWL, ELK = Provider("0x1", "bold-fox"), Provider("0x2", "calm-owl"), Provider("0x3", "dark-elk")


@pytest.mark.parametrize(
    ("kind", "until_out"), [("malformed", 2), ("implausible", 2), ("no work", 1), ("replay", 1), ("false", 1)]
)
def test_how_often_in_a_row_something_is_forgiven(kind: VerdictKind, until_out: int) -> None:
    providers = Providers()
    for _ in range(until_out):
        assert not providers.is_banned(FOX.id)
        providers.refused(FOX, Verdict(kind, "a reason"))
    assert providers.is_banned(FOX.id)
    assert not providers.is_banned(OWL.id)
    assert providers.standings()[FOX.id].banned == "a reason"


def test_good_work_makes_up_for_bad() -> None:
    providers = Providers()
    for _ in range(5):
        providers.refused(FOX, Verdict("malformed", "a reason"))
        providers.admitted(FOX, client=0, samples=10, seconds=1)
    assert not providers.is_banned(FOX.id)


@given(st.lists(st.sampled_from(sorted({*get_args(VerdictKind)} - {"no update"})), max_size=30))
def test_nobody_comes_back_in_the_same_run(events: list[VerdictKind]) -> None:
    providers = Providers()
    was_out = False
    for event in events:
        if event == "admitted":
            providers.admitted(FOX, client=0, samples=1, seconds=1)
        else:
            providers.refused(FOX, Verdict(event, "a reason"))
        assert providers.is_banned(FOX.id) >= was_out
        was_out = providers.is_banned(FOX.id)


def test_speed_is_measured_and_relative_to_the_typical_provider() -> None:
    providers = Providers()
    assert providers.relative_speed(0) is None
    for client, (provider, seconds) in enumerate([(FOX, 10), (OWL, 20), (ELK, 80)]):
        providers.admitted(provider, client, samples=100, seconds=seconds)
    assert providers.standings()[FOX.id].speed == 10
    assert [providers.relative_speed(client) for client in range(3)] == [2, 1, 0.25]
    assert providers.relative_speed(3) is None
    providers.admitted(FOX, 2, samples=100, seconds=10)  # it has taken over the elk's client
    assert providers.relative_speed(2) == 2
    assert providers.relative_speed(0) is None


def test_who_takes_far_more_for_its_work_than_others_is_out_for_this_run(tmp_path: Path) -> None:
    bans = BanList(tmp_path / "bans.json")
    providers = Providers(bans)

    def work(provider: Provider, glm: str) -> None:
        providers.admitted(provider, client=0, samples=100, seconds=10, cost=Decimal(glm))

    dear = Provider("0x4", "dear-cat")
    work(FOX, "0.01")
    work(OWL, "0.02")
    work(dear, "0.5")
    assert not providers.is_banned(dear.id)  # two others are too few to judge
    work(ELK, "0.03")
    work(dear, "0.1")
    assert providers.standings()[dear.id].banned == "it costs 15 times as much as others"
    work(ELK, "0.3")
    assert not providers.is_banned(ELK.id)  # 0.165 for a hundred, and the median of the others is 0.02
    assert bans.read() == {}


def test_a_resumed_run_knows_the_speeds_again() -> None:
    update = OutcomeEntry(
        "admitted", "admitted", client=4, provider=FOX.name, provider_id=FOX.id, samples=100, seconds=5.0,
        cost_glm=Decimal("0.02"),
    )  # fmt: skip
    refused = OutcomeEntry("no update", "the round closed before it came", client=5)
    providers = Providers()
    providers.resume([RoundEntry(1, True, (update, refused))])
    assert providers.standings()[FOX.id].speed == 20
    assert providers.standings()[FOX.id].sample_price == Decimal("0.0002")
    assert providers.relative_speed(4) == 1


async def nothing(task: Task) -> Outcome:
    return Outcome(task, None)


def outcome(job_id: str, provider: Provider | None) -> Outcome:
    job = Job(PROTOCOL, "embed", job_id, "resnet18", "/", 64 * "0", (64 * "1",), None, 0)
    return Outcome(Task(job, (), None, 1.0, 1), provider)


def test_the_backend_is_told_once_of_each_who_is_put_out_and_people_too(tmp_path: Path) -> None:
    bans, backend, notes = BanList(tmp_path / "bans.json"), SimulatedBackend(nothing), list[str]()
    bans.add(ELK, "of an earlier run")
    providers = Providers(bans, backend, notes.append)
    assert (backend.dismissed, notes) == ([ELK.id], [])
    for _ in range(2):
        providers.refused(FOX, Verdict("replay", "it is a copy"))
        providers.put_out(FOX, "another reason")
        providers.put_out(OWL, "for this run")
    assert backend.dismissed == [ELK.id, FOX.id, OWL.id]
    assert notes == ["  bold-fox gets no more work", "  calm-owl gets no more work"]
    assert providers.standings()[FOX.id].banned == "it is a copy"
    assert providers.is_banned(OWL.id)
    assert bans.read().keys() == {ELK.id, FOX.id}


def test_harmful_work_is_not_paid_for_once_its_sender_is_out() -> None:
    backend = SimulatedBackend(nothing)
    providers = Providers(backend=backend)
    for job_id, provider, verdict in [
        ("late", None, Verdict("no update", "nobody did it")),
        ("good", FOX, Verdict("admitted", "admitted")),
        ("harmful", FOX, Verdict("harmful", "it worsens the hold-out EMD")),
        ("garbage", OWL, Verdict("malformed", "no safetensors file")),
    ]:
        providers.reject(outcome(job_id, provider), verdict)
    assert backend.rejected == ["garbage"]
    providers.put_out(OWL, "a reason")
    assert backend.rejected == ["garbage"]
    providers.put_out(FOX, "a reason")
    assert backend.rejected == ["garbage", "harmful"]


def test_who_sent_bad_work_is_out_in_the_next_run_until_pardoned(tmp_path: Path) -> None:
    bans = BanList(tmp_path / "data" / "bans.json")
    Providers(bans).refused(FOX, Verdict("replay", "it is a copy"))
    assert Providers(bans).is_banned(FOX.id)
    assert (bans.read()[FOX.id].name, bans.read()[FOX.id].reason) == (FOX.name, "it is a copy")
    assert bans.pardon(FOX.id)
    assert not bans.pardon(FOX.id)
    assert not Providers(bans).is_banned(FOX.id)


@pytest.mark.parametrize("kind", sorted({*get_args(VerdictKind)} - {"no update", "admitted"}))
def test_only_proof_bans_beyond_a_run_and_relative_evidence_puts_nobody_out(kind: VerdictKind, tmp_path: Path) -> None:
    bans = BanList(tmp_path / "bans.json")
    providers = Providers(bans)
    for _ in range(20):
        providers.refused(FOX, Verdict(kind, "a reason"))
    assert (FOX.id in bans.read()) == (kind in PROOF)
    assert providers.is_banned(FOX.id) == (kind not in RELATIVE)


def _ban_ten(path: Path, first: int) -> None:
    for number in range(first, first + 10):
        BanList(path).add(Provider(str(number), "name"), "reason")


def test_runs_that_ban_at_the_same_time_do_not_forget_each_others_bans(tmp_path: Path) -> None:
    path = tmp_path / "bans.json"
    processes = [multiprocessing.Process(target=_ban_ten, args=(path, first)) for first in (0, 10)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert len(BanList(path).read()) == 20


@pytest.mark.parametrize("content", ["half a", "[]", '{"0x1": {"name": "fox"}}', '{"0x1": 3}'])
def test_a_damaged_list_is_said_to_be(content: str, tmp_path: Path) -> None:
    path = tmp_path / "bans.json"
    path.write_text(content)
    with pytest.raises(ConfigurationError, match=r"bans\.json is not a list of bans"):
        BanList(path).read()


def test_the_list_lies_in_the_users_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    bans = ban_list()
    bans.add(FOX, "a reason")
    assert list(json.loads((tmp_path / "nima-golem" / "banned-providers.json").read_text())) == [FOX.id]


def command(home: Path, *arguments: str) -> Result:
    return CliRunner(env={"XDG_DATA_HOME": str(home)}).invoke(nima_golem, ["providers", *arguments])


def test_the_command_lists_and_pardons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert command(tmp_path, "list").output == "No provider is banned.\n"
    ban_list().add(Provider("0x9", "evil\x1b[2J"), "it is a copy")
    row = json.loads(command(tmp_path, "list", "--json").output)
    assert (row["provider_id"], row["name"], row["reason"]) == ("0x9", "evil [2J", "it is a copy")
    assert "it is a copy" in command(tmp_path, "list").output
    assert command(tmp_path, "pardon", "0x9").output == "0x9 can be hired again.\n"
    assert command(tmp_path, "list", "--json").output == ""


def test_a_pardon_for_somebody_who_is_not_banned_says_so(tmp_path: Path) -> None:
    done = command(tmp_path, "pardon", "0x9")
    assert done.exit_code == 2
    assert "0x9 is not banned" in done.output
