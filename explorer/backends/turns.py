"""Whose turn it is at the model: everybody's, in the order in which they came.

A model runs one pass at a time. Whoever comes while a pass is under way waits; the next pass
then serves all who wait for one more token, together. One of those who wait leads: it runs
passes until its own turn is done, then another one leads, so no thread is kept for it. A long
run of one user comes back for each token, and so never goes before another user's click.

A part of a long text or a step of a search serves one user only and takes longer, so between
two of these all who wait for one more token get theirs. What nobody waits for any more is left
out, and who comes when too many wait is told so.
"""

import itertools
import threading
from collections import deque
from collections.abc import Callable, Hashable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from explorer.backends.alternation import alternation
from explorer.backends.base import Asker, AskerGone, TooBusy, asker_here, check_asker

MAX_WAITING = 200  # turns

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
    is_long: bool = False  # serves nobody else, and for long
    askers: list[Asker | None] = field(default_factory=list)

    @property
    def is_left(self) -> bool:
        """Whether all who waited for it have gone."""
        return all(asker is not None and asker.has_left() for asker in self.askers)


class Turns(Generic[Key, Answer]):
    """First come, first served; those who can share a pass do.

    `serve` takes the keys of the oldest turns, at most `together`, and answers what it can in
    one pass; a key that it leaves out, since its work has several parts, goes to the back of
    the queue and from then on is served by itself. Raises `TooBusy` for who comes when `limit`
    turns are open, and `AskerGone` for who has left.
    """

    def __init__(
        self,
        serve: Callable[[list[Key]], dict[Key, Answer]],
        together: int,
        limit: int = MAX_WAITING,
    ) -> None:
        self._serve, self._together, self._limit = serve, together, limit
        self._waiting: deque[Turn] = deque()
        self._changed = threading.Condition()
        self._led = False
        self._steps_first = False  # after work of its own

    def __len__(self) -> int:
        """How many are open: those that wait, and those that are served."""
        return len(self._waiting)

    @property
    def others_wait(self) -> bool:
        """Whether more than one turn is open, the one under way included."""
        return len(self._waiting) > 1

    def ask(self, key: Key) -> Answer:
        """The answer for this key; who asks for the same key at the same time shares it."""
        with self._changed:
            turn = next((turn for turn in self._waiting if turn.key == key), None)
            turn = self._join(turn or Turn(key))
        answer: Answer = self._wait_for(turn)
        return answer

    def alone(self, work: Callable[[], Done]) -> Done:
        """Do something that needs the model for itself, when its turn comes."""
        with self._changed:
            turn = self._join(Turn(work=work, is_long=True))
        answer: Done = self._wait_for(turn)
        return answer

    def _join(self, turn: Turn) -> Turn:
        """Wait for this turn too; a new one comes last in line."""
        check_asker()
        asker = asker_here()
        if turn not in self._waiting:
            # Who was let in before comes for the rest of the same request.
            if len(self._waiting) >= self._limit and not (asker and asker.let_in):
                raise TooBusy(waiting=len(self._waiting), limit=self._limit)
            self._waiting.append(turn)
        if asker is not None:
            asker.let_in = True
        turn.askers.append(asker)
        return turn

    def _wait_for(self, turn: Turn) -> Any:
        with alternation.waiting():
            self._see_to(turn)
        if turn.error is not None:
            raise turn.error
        return turn.result

    def _see_to(self, turn: Turn) -> None:
        """Wait until it is done, or lead until then."""
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

    def _next_pass(self) -> None:
        """Serve those whose turn it is."""
        with ExitStack() as stack:
            if not self._is_long_next():
                stack.enter_context(alternation.quiet())
            turns = self._chosen()
            if turns:
                self._serve_all(turns)

    def _is_long_next(self) -> bool:
        """Whether what comes next serves nobody else, and so waits for nobody."""
        with self._changed:
            oldest = self._waiting[0] if self._waiting else None
            return oldest is not None and oldest.is_long and not self._steps_first

    def _chosen(self) -> list[Turn]:
        with self._changed:
            self._leave_out()
            return self._next_turns()

    def _serve_all(self, turns: list[Turn]) -> None:
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
                    turn.is_long = True
                    self._waiting.append(turn)
            self._changed.notify_all()

    def _leave_out(self) -> None:
        """Nobody waits for these any more, but a thread that is to end."""
        left = [turn for turn in self._waiting if turn.is_left]
        for turn in left:
            self._waiting.remove(turn)
            turn.error, turn.done = AskerGone(), True
        if left:
            self._changed.notify_all()

    def _next_turns(self) -> list[Turn]:
        """The oldest turn and all that can share its pass; after a long one, the oldest steps."""
        steps = [turn for turn in self._waiting if not turn.is_long][: self._together]
        long = bool(self._waiting) and self._waiting[0].is_long
        if steps and (self._steps_first or not long):
            self._steps_first = False
            return steps
        self._steps_first = True
        return list(itertools.islice(self._waiting, 1))

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
