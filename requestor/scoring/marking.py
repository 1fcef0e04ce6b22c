"""Decides what a photo's score gives it in photo managers: stars, the mark of a reject, and a colour label."""

from __future__ import annotations

from dataclasses import dataclass

from nima.scoring import Score


@dataclass(frozen=True)
class Marking:
    """Gives photos ratings and colour labels by their scores.

    reject_below: photos with a lower score, 1 to 10, are rejected; None for none.
    labels: pairs of a score and the label of photos with this score or more, if no label of a higher score fits.
    """

    reject_below: float | None = None
    labels: tuple[tuple[float, str], ...] = ()

    def rating(self, score: Score) -> int:
        """Returns −1 for a rejected photo, else its stars, 1 to 5. The photo must have a score.

        Example:
            >>> score = Score.of("1.jpg", [0, 0, 0, 0, 1, 0, 0, 0, 0, 0], "drawn@00000000", width=60, height=40)
            >>> Marking().rating(score), Marking(reject_below=5.5).rating(score)
            (2, -1)
        """
        assert score.aesthetic_score is not None
        assert score.stars is not None
        return -1 if self.reject_below is not None and score.aesthetic_score < self.reject_below else score.stars

    def label(self, score: Score) -> str | None:
        """Returns the label with the highest score that the photo's reaches; None for none."""
        assert score.aesthetic_score is not None
        reached = [pair for pair in self.labels if score.aesthetic_score >= pair[0]]
        return max(reached)[1] if reached else None
