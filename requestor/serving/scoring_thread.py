"""Scores for many who ask at once: one thread owns the model and takes together what has come in meanwhile."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from threading import Thread

from nima.score import Score
from nima.scoring import Scorer

_Waiting = tuple[bytes, "Future[Score]"]


class ScoringThread:
    """Scores photos off the event loop, at most `batch_size` of them at a time."""

    def __init__(self, scorer: Scorer, batch_size: int = 16) -> None:
        self._scorer = scorer
        self._batch_size = batch_size
        self._queue: SimpleQueue[_Waiting | None] = SimpleQueue()
        self._thread = Thread(target=self._run, name="scoring", daemon=True)
        self._thread.start()

    async def score(self, photo: bytes) -> Score:
        """The score of an image file's content; of one that nobody waits for any more, none is made."""
        future: Future[Score] = Future()
        self._queue.put((photo, future))
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Ends the thread once it has scored what waits."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            batch = [first]
            closing = False
            while len(batch) < self._batch_size and not closing:
                try:
                    waiting = self._queue.get_nowait()
                except Empty:
                    break
                if waiting is None:
                    closing = True
                else:
                    batch.append(waiting)
            self._score([(photo, future) for photo, future in batch if future.set_running_or_notify_cancel()])
            if closing:
                return

    def _score(self, batch: list[_Waiting]) -> None:
        try:
            scores = list(self._scorer.score([photo for photo, _ in batch]))
        except Exception as error:  # whatever it is, those who wait must hear of it, and the next are served
            for _, future in batch:
                future.set_exception(error)
            return
        for (_, future), score in zip(batch, scores, strict=True):
            future.set_result(score)
