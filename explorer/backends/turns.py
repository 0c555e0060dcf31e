"""Whose turn it is at the model: everybody's, in the order in which they came.

A model runs one pass at a time. Whoever comes while a pass is under way waits; the next pass
then serves all who wait for one more token, together. One of those who wait leads: it runs
passes until its own turn is done, then another one leads, so no thread is kept for it. A long
run of one user comes back for each token, and so never goes before another user's click.
"""

import itertools
import threading
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Answer = TypeVar("Answer")
Done = TypeVar("Done")


@dataclass(eq=False, slots=True)
class Turn:
    """What somebody waits for: an answer by its key, or work of its own kind."""

    key: Any = None
    work: Callable[[], Any] | None = None
    result: Any = None
    error: Exception | None = None
    done: bool = False


class Turns(Generic[Key, Answer]):
    """First come, first served; those who can share a pass do.

    `serve` takes the keys of the oldest turns, at most `together`, and answers what it can in
    one pass; a key that it leaves out, since its work has several parts, goes to the back of
    the queue.
    """

    def __init__(self, serve: Callable[[list[Key]], dict[Key, Answer]], together: int) -> None:
        self._serve, self._together = serve, together
        self._waiting: deque[Turn] = deque()
        self._changed = threading.Condition()
        self._led = False

    @property
    def others_wait(self) -> bool:
        """Whether more than one turn is open, the one under way included."""
        return len(self._waiting) > 1

    def ask(self, key: Key) -> Answer:
        """The answer for this key; who asks for the same key at the same time shares it."""
        with self._changed:
            turn = next((turn for turn in self._waiting if turn.key == key), None)
            if turn is None:
                turn = Turn(key)
                self._waiting.append(turn)
        answer: Answer = self._wait_for(turn)
        return answer

    def alone(self, work: Callable[[], Done]) -> Done:
        """Do something that needs the model for itself, when its turn comes."""
        turn = Turn(work=work)
        with self._changed:
            self._waiting.append(turn)
        answer: Done = self._wait_for(turn)
        return answer

    def _wait_for(self, turn: Turn) -> Any:
        with self._changed:
            while self._led and not turn.done:
                self._changed.wait()
            lead = not turn.done
            self._led = self._led or lead
        if lead:
            try:
                while not turn.done:
                    self._next_pass()
            finally:
                with self._changed:
                    self._led = False
                    self._changed.notify_all()
        if turn.error is not None:
            raise turn.error
        return turn.result

    def _next_pass(self) -> None:
        """Serve the turn that has waited longest, and all that can share its pass."""
        with self._changed:
            if self._waiting[0].work is not None:
                turns = [self._waiting[0]]
            else:
                keyed = (turn for turn in self._waiting if turn.work is None)
                turns = list(itertools.islice(keyed, self._together))
        try:
            self._run(turns)
        except Exception as error:
            if len(turns) == 1:
                turns[0].error, turns[0].done = error, True
            else:
                self._run_each(turns)
        with self._changed:
            for turn in turns:
                self._waiting.remove(turn)
                if not turn.done:
                    self._waiting.append(turn)
            self._changed.notify_all()

    def _run(self, turns: list[Turn]) -> None:
        if turns[0].work is not None:
            turns[0].result, turns[0].done = turns[0].work(), True
            return
        answers = self._serve([turn.key for turn in turns])
        for turn in turns:
            if turn.key in answers:
                turn.result, turn.done = answers[turn.key], True

    def _run_each(self, turns: list[Turn]) -> None:
        """Nobody pays for what another one asked."""
        for turn in turns:
            try:
                self._run([turn])
            except Exception as error:
                turn.error, turn.done = error, True
