"""Signs of life of ranks: which rank is lost, and which one is waited for."""

import time
from threading import Event

import pytest

from vitrun.runtime.heartbeat import Heartbeat

SECONDS = 0.4


class Ranks:
    """Three ranks with one store; rank 0 waits for the others from ``wait`` on."""

    def __init__(self):
        self.content, self.lost, self.gave_up = {}, [], Event()
        self.ranks = [Heartbeat(self, rank, 3, self.give_up) for rank in range(3)]
        for rank in self.ranks:
            rank.seconds = SECONDS
            rank.start()

    def set(self, key: str, text: str) -> None:
        self.content[key] = text.encode()

    def multi_get(self, keys: list[str]) -> list[bytes]:
        return [self.content[key] for key in keys]

    def give_up(self, sentence: str, lost: list[int]) -> None:
        self.lost.append((lost, sentence))
        self.gave_up.set()

    def wait(self, seconds: float) -> tuple[list[int], str] | None:
        """Let rank 0 wait; return what it gave up with, None if it still waits."""
        with self.ranks[0].waiting():
            return self.lost[0] if self.gave_up.wait(seconds) else None

    def close(self) -> None:
        for rank in self.ranks:
            rank.closing.set()


@pytest.fixture
def ranks():
    ranks = Ranks()
    yield ranks
    ranks.close()


def test_a_rank_without_signs_of_life_is_named(ranks):
    ranks.ranks[2].closing.set()
    lost, sentence = ranks.wait(10)
    assert lost == [2] and "rank 2 on " in sentence and f"rank_timeout={2 * SECONDS:g}" in sentence


def test_a_rank_that_hangs_in_a_step_is_named_with_its_last_step(ranks):
    for rank in ranks.ranks:
        rank.now = rank.now._replace(step=7)
    with ranks.ranks[1].waiting():
        lost, sentence = ranks.wait(10)
    assert lost == [2] and "at step 7, hangs" in sentence


def test_a_rank_that_saves_or_downloads_is_waited_for(ranks):
    for rank, work in zip(ranks.ranks, ("", "", "saving")):
        rank.now = rank.now._replace(step=7 if rank.rank else None, work=work)
    with ranks.ranks[1].waiting():
        assert ranks.wait(3 * SECONDS) is None


def test_a_store_that_does_not_answer_is_that_of_rank_0(ranks):
    ranks.ranks[1].answered = time.monotonic() - SECONDS
    ranks.ranks[1].latest = ranks.ranks[0].latest
    assert ranks.ranks[1].explain(SECONDS)[0] == [0]
