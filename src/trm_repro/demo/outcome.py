"""What came of a demo: numbers, and puzzles with the answers to them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Shown:
    """A puzzle and what the model answered after each of T supervision steps, as tokens: 1 is empty, a digit + 1 the digit.

    Attributes:
        question: (side, side).
        answer: (side, side).
        steps: (T, side, side).
        sure: (T, side, side), the probability of each of these tokens.
    """

    question: NDArray[np.uint8]
    answer: NDArray[np.uint8]
    steps: NDArray[np.uint8]
    sure: NDArray[np.float32]


@dataclass(frozen=True)
class Outcome:
    """What came of a demo.

    Attributes:
        side: of a board.
        boards: how many test boards there are.
        puzzles: how many test puzzles.
        right: of them, after each supervision step.
        parameters: of the model.
        steps: of training.
        seconds: from the start of the training's process to its end, the test within.
        cpu_seconds: what it took of one core in that time, which is as much on a machine with much else to do.
        hardest: the puzzles that took the most steps, of those that were solved; the longest first.
    """

    side: int
    boards: int
    puzzles: int
    right: tuple[int, ...]
    parameters: int
    steps: int
    seconds: float
    cpu_seconds: float
    hardest: tuple[Shown, ...]

    @property
    def share(self) -> float:
        """Of the test puzzles, those that are solved after the last step."""
        return self.right[-1] / self.puzzles

    @property
    def sentence(self) -> str:
        """The number, in words."""
        return (
            f"{100 * self.share:.1f} % of {self.puzzles:,} puzzles on {self.boards} boards never seen are solved whole "
            f"({self.right[-1]:,}), after {self.steps:,} training steps in {self.seconds:.0f} s "
            f"({self.cpu_seconds:.0f} s of one core)"
        )
