"""Photos of lost workers: none is lost, none is done twice, and the one at fault is found."""

import logging
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from ostec.dataset.records import Finished, Group, Item, Outcome, Place
from ostec.dataset.recovery import MAX_CRASHES, Recovery
from ostec.dataset.store import Store


def ended(steps: Generator[Finished, None, list[Group]]) -> tuple[list[Finished], list[Group]]:
    """What a generator yields, and what it returns."""
    found: list[Finished] = []

    def run() -> Generator[Any, None, None]:
        found.append((yield from steps))

    yielded = list(run())
    return yielded, found[0]


def group(*numbers: int, left: tuple[int, ...] | None = None) -> Group:
    items = tuple(Item(n, f"{n:016x}", "", f"{n}.jpg", Place("")) for n in numbers)
    return Group(items, frozenset(numbers if left is None else left))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path, 8)
    store.make()
    return store


def test_what_is_staged_is_not_done_again(store: Store) -> None:
    store.stage(Outcome(1, "done"))
    store.stage(Outcome(4, "failed", stage="read", reason="x"))
    found, left = ended(Recovery(store).staged([group(0, 1, 2), group(3, 4, left=(4,)), group(5)]))
    assert [(f.item, f.status) for f in found] == [(1, "done"), (4, "failed")]
    assert left == [group(0, 1, 2, left=(0, 2)), group(5)]


def test_a_group_is_taken_apart_and_then_the_photo_fails(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    recovery, whole = Recovery(store), group(0, 1, 2, left=(1, 2))
    for _ in range(MAX_CRASHES - 1):
        assert ended(recovery.blame(whole)) == ([], [whole])
    with caplog.at_level(logging.WARNING):
        assert ended(recovery.blame(whole)) == ([], [group(1), group(2)])
    assert [record.getMessage() for record in caplog.records] == [
        "4 workers were lost at the same 3 photos, which are done one by one."
    ]
    for _ in range(MAX_CRASHES - 1):
        assert ended(recovery.blame(group(2))) == ([], [group(2)])
    assert ended(recovery.blame(group(2))) == ([Finished(2, "failed")], [])
    outcome, _ = store.read_staged(2)
    assert (outcome.status, outcome.stage) == ("failed", "work")
    assert outcome.reason == "The worker died 4 times on this photo: too little memory, or a defect."


def test_a_photo_that_takes_too_long_is_told_from_one_that_ends_its_worker(store: Store) -> None:
    recovery = Recovery(store)
    for _ in range(MAX_CRASHES - 1):
        ended(recovery.blame(group(7), 30.0))
    assert ended(recovery.blame(group(7), 30.0)) == ([Finished(7, "failed")], [])
    assert store.read_staged(7)[0].reason == "The photo was not done after 30 seconds, in 4 attempts."
