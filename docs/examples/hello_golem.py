"""Runs a plain yapapi requestor, as in yapapi's tutorials: of the devnet, it knows only yapapi's own variables.

`python hello_golem.py FILE FOLDER` sends FILE to providers, has them hash and double it, and brings the result to
FOLDER; with `--stream`, it streams their output. The last line is a JSON object.
"""

import asyncio
import json
import os
import sys
from datetime import timedelta
from pathlib import Path

from yapapi import Golem, Task, WorkContext
from yapapi.events import CommandStdOut, InvoiceAccepted
from yapapi.payload import vm

COMMAND = "cd /golem/work && sha256sum data && wc -c < data && cat data data > twice && echo done >&2"


async def worker(context: WorkContext, tasks):
    """Sends the file of each task to a provider, runs the command, and fetches the result."""
    async for task in tasks:
        script = context.new_script(timeout=timedelta(minutes=2))
        script.upload_file(task.data["file"], "/golem/work/data")
        result = script.run("/bin/sh", "-c", COMMAND)
        script.download_file("/golem/work/twice", task.data["result"])
        yield script
        task.accept_result((await result).stdout)


async def main(file: Path, folder: Path, streaming: bool) -> None:
    """Runs three tasks with at most two providers, and prints what came of them."""
    payload = await vm.repo(
        image_hash=os.environ["NIMA_GOLEM_IMAGE_HASH"], image_url=os.environ["NIMA_GOLEM_IMAGE_URL"]
    )
    streamed: list[str] = []
    accepted: dict[str, str] = {}

    def on_event(event) -> None:
        if isinstance(event, CommandStdOut):
            streamed.append(event.output)
        elif isinstance(event, InvoiceAccepted):
            accepted[event.provider_id] = str(event.amount)

    outputs: list[str | None] = []
    async with Golem(budget="1", stream_output=streaming) as golem:
        golem.add_event_consumer(on_event)
        data = [{"file": str(file), "result": str(folder / f"twice-{index}")} for index in range(3)]
        tasks = [Task(data=item) for item in data]
        async for task in golem.execute_tasks(worker, tasks, payload, max_workers=2, timeout=timedelta(minutes=10)):
            outputs.append(task.result)
    print(json.dumps({"outputs": outputs, "streamed": "".join(streamed), "accepted": accepted}))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), "--stream" in sys.argv))
