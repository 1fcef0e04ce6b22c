"""Scores photos for many clients at once: one thread owns the model, and takes the waiting photos as one batch."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from threading import Thread

from nima.scoring import Score, Scorer

_Waiting = tuple[bytes, "Future[Score]"]


class ScoringThread:
    """Scores photos in a thread of its own, so that the event loop does not wait.

    Args:
        scorer: scores the photos.
        batch_size: largest number of photos that are scored at a time.
    """

    def __init__(self, scorer: Scorer, batch_size: int = 16) -> None:
        self._scorer = scorer
        self._batch_size = batch_size
        self._queue: SimpleQueue[_Waiting | None] = SimpleQueue()
        self._thread = Thread(target=self._run, name="scoring", daemon=True)
        self._thread.start()

    async def score(self, photo: bytes) -> Score:
        """Returns the score of an image file's content; if the caller is cancelled before, the photo is not scored."""
        future: Future[Score] = Future()
        self._queue.put((photo, future))
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Ends the thread after it has scored the waiting photos."""
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
        except Exception as error:  # the waiting callers get the error; the thread must go on for the next ones
            for _, future in batch:
                future.set_exception(error)
            return
        for (_, future), score in zip(batch, scores, strict=True):
            future.set_result(score)
