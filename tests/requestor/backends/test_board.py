import asyncio
from pathlib import Path

import pytest

from nima.wire.jobs import PROTOCOL, Job
from requestor.backends import board as board_module
from requestor.backends.base import Outcome, Provider, Task
from requestor.backends.board import ATTEMPTS, MISHAPS, SHORTEST_STAY, STRIKES, TASKS_A_STRIKE, Board
from requestor.errors import ImageMismatch

FOX, OWL = Provider("0x1", "bold-fox"), Provider("0x2", "calm-owl")


def task(name: str, *files: str, client: int | None = None) -> Task:
    job = Job(PROTOCOL, "evaluate", name, "mobilenet_v2", "/", "0" * 64, ("1" * 64,), None, 0)
    return Task(job, tuple(Path(file) for file in files), None, 10.0, 1000, client=client)


async def collect(board: Board, tasks: list[Task], seconds: float) -> list[Outcome]:
    return [outcome async for outcome in board.run(tasks, seconds)]


def test_a_provider_is_given_the_task_whose_files_it_holds() -> None:
    async def scenario() -> None:
        board = Board()
        running = asyncio.create_task(collect(board, [task("a", "x"), task("b", "y")], 1.0))
        await asyncio.sleep(0)
        mine = board.take(FOX, {"y"})
        assert mine is not None
        assert mine.job.job_id == "b"
        running.cancel()

    asyncio.run(scenario())


def test_each_provider_takes_the_tasks_of_one_client_and_helps_others_at_the_end() -> None:
    async def scenario() -> list[str]:
        board, taken = Board(), list[str]()
        tasks = [task(f"{client}-{number}", client=client) for client in (1, 2) for number in range(3)]
        running = asyncio.create_task(collect(board, tasks, 5.0))
        await asyncio.sleep(0)
        for provider in (FOX, OWL, FOX, FOX, FOX, OWL):
            mine = board.take(provider, ())
            assert mine is not None
            taken.append(mine.job.job_id)
        running.cancel()
        return taken

    assert asyncio.run(scenario()) == ["1-0", "2-0", "1-1", "1-2", "2-1", "2-2"]


def test_a_failed_task_goes_to_another_provider() -> None:
    async def scenario() -> list[Outcome]:
        board = Board()
        running = asyncio.create_task(collect(board, [task("a"), task("b")], 5.0))
        await asyncio.sleep(0)
        first = board.take(FOX, ())
        assert first is not None
        board.fail(first, FOX, "it broke", 1.0)
        other = board.take(FOX, ())
        assert other is not None
        assert other is not first
        again = board.take(OWL, ())
        assert again is first
        board.complete(Outcome(other, FOX))
        board.complete(Outcome(first, OWL))
        return await running

    outcomes = asyncio.run(scenario())
    assert {(o.task.job.job_id, o.provider) for o in outcomes} == {("a", OWL), ("b", FOX)}


def test_when_all_who_came_are_out_nobody_is_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(board_module, "DESERTED_SECONDS", 0.1)
    monkeypatch.setattr(board_module, "GLANCE_SECONDS", 0.05)

    async def scenario() -> tuple[list[Outcome], list[Outcome]]:
        board = Board()
        running = asyncio.create_task(collect(board, [task("a"), task("b")], 60.0))
        await asyncio.sleep(0.3)  # no provider has come yet, and the board waits for one
        assert not running.done()
        for _ in range(STRIKES):
            taken = board.take(FOX, ())
            assert taken is not None
            board.fail(taken, FOX, "it broke", 1.0)
        return await running, await collect(board, [task("c")], 60.0)

    first, later = asyncio.run(scenario())
    assert {outcome.error for outcome in first} == {"it broke"}
    assert {outcome.error for outcome in later} == {"providers failed or were dismissed, and no other came"}


def test_a_task_that_fails_too_often_ends_with_its_last_error() -> None:
    async def scenario() -> list[Outcome]:
        board = Board()
        running = asyncio.create_task(collect(board, [task("a")], 5.0))
        await asyncio.sleep(0)
        for attempt in range(ATTEMPTS):
            provider = Provider(str(attempt), str(attempt))
            taken = board.take(provider, ())
            assert taken is not None
            board.fail(taken, provider, f"failure {attempt}", 1.0)
        return await running

    (outcome,) = asyncio.run(scenario())
    assert outcome.error == f"failure {ATTEMPTS - 1}"


def test_a_provider_that_was_dismissed_is_given_nothing_more() -> None:
    async def scenario() -> None:
        board = Board()
        running = asyncio.create_task(collect(board, [task("a")], 5.0))
        await asyncio.sleep(0)
        board.dismiss(FOX.id)
        assert board.take(FOX, ()) is None
        assert await board.wait_for_task(FOX, ()) is None
        running.cancel()

    asyncio.run(scenario())


def test_a_provider_that_failed_too_often_is_given_nothing_more() -> None:
    async def scenario() -> None:
        board = Board()
        running = asyncio.create_task(collect(board, [task(str(i)) for i in range(STRIKES + 1)], 5.0))
        await asyncio.sleep(0)
        for _ in range(STRIKES):
            taken = board.take(FOX, ())
            assert taken is not None
            board.fail(taken, FOX, "it broke", 1.0)
        assert board.is_banned(FOX.id)
        assert board.take(FOX, ()) is None
        assert await board.wait_for_task(FOX, ()) is None
        running.cancel()

    asyncio.run(scenario())


def test_much_good_work_outweighs_old_failures() -> None:
    async def scenario() -> None:
        board = Board()
        running = asyncio.create_task(collect(board, [task(str(i)) for i in range(20)], 5.0))
        await asyncio.sleep(0)

        def work(*, well: bool) -> None:
            taken = board.take(FOX, ())
            assert taken is not None
            if well:
                board.complete(Outcome(taken, FOX))
            else:
                board.fail(taken, FOX, "it broke", 1.0)

        for _ in range(STRIKES - 1):
            work(well=False)
        for _ in range(TASKS_A_STRIKE):
            work(well=True)
        work(well=False)
        assert not board.is_banned(FOX.id)
        work(well=False)
        assert board.is_banned(FOX.id)
        running.cancel()

    asyncio.run(scenario())


def test_the_round_ends_at_its_deadline_with_one_outcome_a_task() -> None:
    async def scenario() -> list[Outcome]:
        board = Board()
        running = asyncio.create_task(collect(board, [task("a"), task("b"), task("c")], 0.2))
        await asyncio.sleep(0)
        done, slow = board.take(FOX, ()), board.take(OWL, ())
        assert done is not None
        assert slow is not None
        board.complete(Outcome(done, FOX))
        outcomes = await running
        assert board.at_work == {"b": OWL}
        board.complete(Outcome(slow, OWL))  # too late: must not appear in the next round
        later = asyncio.create_task(collect(board, [task("d")], 0.2))
        outcomes += await later
        return outcomes

    outcomes = asyncio.run(scenario())
    assert [o.task.job.job_id for o in outcomes if o.error is None] == ["a"]
    missing = {o.task.job.job_id: o.provider for o in outcomes if o.error is not None}
    assert missing == {"b": OWL, "c": None, "d": None}


@pytest.mark.parametrize(("running_too", "expected"), [(False, ["b"]), (True, ["a", "b"])])
def test_withdraw_ends_what_waits_and_abandon_what_runs_too(running_too: bool, expected: list[str]) -> None:
    async def scenario() -> list[Outcome]:
        board = Board()
        running = asyncio.create_task(collect(board, [task("a"), task("b")], 5.0))
        await asyncio.sleep(0)
        taken = board.take(FOX, ())
        assert taken is not None
        if running_too:
            board.abandon("no more")
        else:
            board.withdraw("no more")
            board.complete(Outcome(taken, FOX))
        return await running

    outcomes = asyncio.run(scenario())
    assert sorted(o.task.job.job_id for o in outcomes if o.error == "no more") == expected
    assert len(outcomes) == 2


def test_the_first_provider_leaves_the_rest_of_the_crew_its_share() -> None:
    async def scenario() -> None:
        board = Board(crew=2)
        running = asyncio.create_task(collect(board, [task("a"), task("b"), task("c")], 5.0))
        await asyncio.sleep(0)
        assert board.take(FOX, ()) is not None
        assert board.take(FOX, ()) is None
        assert board.take(OWL, ()) is not None
        assert board.take(FOX, ()) is not None
        running.cancel()

    asyncio.run(scenario())


def test_a_closed_board_lets_everybody_go() -> None:
    async def scenario() -> Task | None:
        board = Board()
        waiting = asyncio.create_task(board.wait_for_task(FOX, ()))
        await asyncio.sleep(0)
        board.close()
        return await asyncio.wait_for(waiting, 5.0)

    assert asyncio.run(scenario()) is None


def test_a_board_that_was_given_up_ends_later_rounds_at_once() -> None:
    async def scenario() -> list[Outcome]:
        board = Board()
        board.abandon("nobody is left")
        return await asyncio.wait_for(collect(board, [task("a"), task("b")], 60.0), 5.0)

    assert [outcome.error for outcome in asyncio.run(scenario())] == ["nobody is left"] * 2


@pytest.mark.parametrize("crew", [1, 2, 3])
def test_a_program_of_another_version_ends_the_run_when_two_providers_say_so(crew: int) -> None:
    async def scenario() -> None:
        board = Board(crew=crew)
        running = asyncio.create_task(collect(board, [task("a"), task("b")], 60.0))
        await asyncio.sleep(0)
        first = board.take(FOX, ())
        assert first is not None
        board.refuse(first, FOX, "The job is of nima-golem 2.", 1.0)
        if crew > 1:  # a provider that is hired alone can only be believed
            again = board.take(OWL, ())
            assert again is not None
            await asyncio.sleep(0)
            assert not running.done(), "a single claim ends nothing"
            board.refuse(again, OWL, "The job is of nima-golem 2.", 1.0)
        names = "bold-fox and calm-owl" if crew > 1 else "bold-fox"
        with pytest.raises(ImageMismatch, match=rf"word of {names}: The job is of nima-golem 2\. Choose an image"):
            await running
        assert await board.wait_for_task(OWL, ()) is None
        with pytest.raises(ImageMismatch):
            await collect(board, [task("c")], 60.0)

    asyncio.run(scenario())


def test_who_claims_alone_that_the_image_does_not_fit_pays_for_it() -> None:
    async def scenario() -> list[Outcome]:
        board = Board(crew=2)
        running = asyncio.create_task(collect(board, [task("a"), task("b"), task("c")], 60.0))
        await asyncio.sleep(0)
        for _ in range(STRIKES):
            claimed = board.take(FOX, ())
            assert claimed is not None
            board.refuse(claimed, FOX, "The job is of nima-golem 2.", 1.0)
            board._seen.add(OWL.id)  # both have come
        assert board.is_banned(FOX.id)
        while (left := board.take(OWL, ())) is not None:
            board.complete(Outcome(left, OWL))
        return await running

    assert [outcome.provider for outcome in asyncio.run(scenario())] == [OWL] * 3


@pytest.mark.parametrize("checked", [True, False])
def test_who_claims_another_version_of_an_image_that_fits_has_only_failed(checked: bool) -> None:
    async def scenario() -> list[Outcome]:
        board = Board(proven=checked)
        running = asyncio.create_task(collect(board, [task("a"), task("b")], 60.0))
        await asyncio.sleep(0)
        if not checked:
            good = board.take(OWL, ())
            assert good is not None
            board.complete(Outcome(good, OWL))
        claimed = board.take(FOX, ())
        assert claimed is not None
        board.refuse(claimed, FOX, "The job is of nima-golem 2.", 1.0)
        while (left := board.take(OWL, ())) is not None:
            board.complete(Outcome(left, OWL))
        return await running

    outcomes = asyncio.run(scenario())
    assert [outcome.provider for outcome in outcomes] == [OWL, OWL]


def test_a_provider_takes_only_what_it_can_finish_in_its_time() -> None:
    async def scenario() -> None:
        board = Board()
        running = asyncio.create_task(collect(board, [task("a")], 5.0))  # its limit is 10 s
        await asyncio.sleep(0)
        assert board.take(FOX, (), seconds_left=9.9) is None
        assert await board.wait_for_task(FOX, (), seconds_left=lambda: 9.9) is None  # it leaves at once
        assert await board.wait_for_task(FOX, (), seconds_left=lambda: 10.0) is not None
        running.cancel()

    asyncio.run(scenario())


def test_a_provider_without_work_stays_until_its_time_is_short() -> None:
    async def scenario() -> None:
        left = iter([SHORTEST_STAY + 1, SHORTEST_STAY, SHORTEST_STAY - 1])
        assert await Board().wait_for_task(FOX, (), seconds_left=lambda: next(left)) is None
        assert next(left, None) is None

    asyncio.run(scenario())


def test_our_own_failures_blame_nobody_and_end_a_task_with_the_first_reason() -> None:
    async def scenario() -> list[Outcome]:
        board = Board()
        running = asyncio.create_task(collect(board, [task("a")], 5.0))
        await asyncio.sleep(0)
        for reason in ["the file server failed", "the disk is full"] + (MISHAPS - 2) * ["the daemon is away"]:
            taken = board.take(FOX, ())
            assert taken is not None
            board.give_back(taken, reason)
        assert not board.is_banned(FOX.id)
        return await running

    (outcome,) = asyncio.run(scenario())
    assert (outcome.provider, outcome.error) == (None, "the file server failed")
