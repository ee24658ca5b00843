"""Projections of several faces in one batch: on most machines that takes less time than one after the other.

Completing a face is written as a generator that hands out a :class:`ProjectionRequest` where it needs a projection, and
is sent the :class:`Projection`. :func:`alone` answers one such generator; :func:`together` lets several run up to their
next request, joins those that fit each other to one batch, and goes on until all have ended. Pictures of a batch do not
look at each other, but sums over a batch of another size may differ in their last digits: who is projected with whom
must follow from the work, not from the clock.
"""

import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch

from ostec.project.invert import Projection, project
from ostec.project.objective import LatentSpace, ProjectionSettings, ProjectionTarget
from ostec.project.terms import PictureTerm, side_by_side

T = TypeVar("T")


@dataclass(frozen=True)
class ProjectionRequest:
    """B pictures that are to be found."""

    space: LatentSpace
    target: ProjectionTarget
    iterations: int
    """Of each picture, at most."""
    settings: ProjectionSettings = field(default_factory=ProjectionSettings)
    start: torch.Tensor | None = None
    """[B, num_ws, W]; the encoder's or the mean latent if None."""
    judged: Sequence[Sequence[PictureTerm]] = ()
    """Per picture its terms of whole pictures, which hold for a batch of one; empty if none has any."""
    on_iteration: Callable[[int], None] | None = None
    """Called before each iteration with its number from 0."""

    @property
    def count(self) -> int:
        """B."""
        return len(self.target.image)

    def fits(self, other: "ProjectionRequest") -> bool:
        """Whether both can be one batch."""
        return (
            self.space is other.space
            and self.iterations == other.iterations
            and self.settings == other.settings
            and self.target.image.shape[1:] == other.target.image.shape[1:]
            and (self.start is None) == (other.start is None)
        )


Projecting = Generator[ProjectionRequest, Projection, T]
"""Work that needs projections on its way to a T."""


class OwnTime:
    """A clock of one of several pieces of work: it runs while that one does, and takes its share of what they share."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._since: float | None = None

    def __call__(self) -> float:
        """Seconds so far."""
        running = time.perf_counter() - self._since if self._since is not None else 0.0
        return self._seconds + running

    def begin(self) -> None:
        """The work goes on."""
        self._since = time.perf_counter()

    def end(self) -> None:
        """The work waits."""
        self._seconds, self._since = self(), None

    def add(self, seconds: float) -> None:
        """Its share of what was done for several."""
        self._seconds += seconds


@dataclass
class Lane:
    """One of several pieces of work."""

    steps: Projecting[Any]
    clock: OwnTime = field(default_factory=OwnTime)
    request: ProjectionRequest | None = None
    """What it waits for."""
    result: Any = None
    error: Exception | None = None
    """What ended it early."""

    def go_on(self, found: Projection | None) -> None:
        """Run up to the next request, or the end."""
        self.request = None
        self.clock.begin()
        try:
            self.request = next(self.steps) if found is None else self.steps.send(found)
        except StopIteration as end:
            self.result = end.value
        except Exception as error:  # noqa: BLE001 - each answers for itself
            self.error = error
        finally:
            self.clock.end()


class SharedError(Exception):
    """A projection of several faces has failed, by the fault of whichever; its cause is ``__cause__``."""


def alone(steps: Projecting[T]) -> T:
    """The result of work whose projections are made as it asks for them. Raises what it raises."""
    try:
        request = next(steps)
        while True:
            (found,) = answer([request])
            request = steps.send(found)
    except StopIteration as end:
        result: T = end.value
        return result


def together(lanes: Sequence[Lane]) -> None:
    """Have all lanes end; each has its result or its error then.

    Raises:
        SharedError: a projection of more than one lane failed; the lanes have not ended.
    """
    for lane in lanes:
        lane.go_on(None)
    while waiting := [lane for lane in lanes if lane.request is not None]:
        first = waiting[0].request
        assert first is not None
        batch = [lane for lane in waiting if lane.request is not None and first.fits(lane.request)]
        start = time.perf_counter()
        try:
            found = answer([lane.request for lane in batch if lane.request is not None])
        except Exception as error:
            if len(batch) > 1:
                raise SharedError(f"projecting {len(batch)} faces at once failed") from error
            batch[0].request, batch[0].error = None, error
            batch[0].steps.close()
            continue
        share = (time.perf_counter() - start) / len(batch)
        for lane, projection in zip(batch, found, strict=True):
            lane.clock.add(share)
            lane.go_on(projection)


def answer(requests: Sequence[ProjectionRequest]) -> list[Projection]:
    """What was found for each of several requests that fit each other, from one batch.

    Raises:
        ValueError: as :func:`ostec.project.invert.project`.
    """
    one = requests[0]
    images, trusts, guesses = (
        torch.cat([getattr(r.target, name) for r in requests]) for name in ("image", "trust", "guessed")
    )
    starts = [r.start for r in requests if r.start is not None]
    own = [terms for r in requests for terms in (r.judged or [()] * r.count)]

    def report(k: int) -> None:
        for r in requests:
            if r.on_iteration is not None:
                r.on_iteration(k)

    terms = side_by_side(own) if len(own) > 1 else own[0]
    target = ProjectionTarget(images, trusts, guesses)
    start = torch.cat(starts) if starts else None
    found = project(one.space, target, one.iterations, one.settings, start, report, terms)
    missing = [{term.name for term in terms} - {term.name for term in mine} for mine in own]
    losses = [
        {name: value for name, value in row.items() if name not in none}
        for row, none in zip(found.losses, missing, strict=True)
    ]
    parts = []
    first = 0
    for r in requests:
        last = first + r.count
        ws, iterations = found.ws[first:last], found.iterations[first:last]
        parts.append(Projection(found.image[first:last], ws, losses[first:last], iterations))
        first = last
    return parts
