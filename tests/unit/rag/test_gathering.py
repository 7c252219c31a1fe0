"""Texts that threads bring at the same time share a forward pass; one that comes alone waits for nobody."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray

from rag.models.gathering import Gathering

SHORT, SHORT_TOO, LONG = [7] * 16, [8] * 17, [9] * 40


class Network:
    """Gives each text's first number and its length. A pass waits while `held`; texts that begin with 0 break it."""

    def __init__(self) -> None:
        self.passes: list[list[list[int]]] = []
        self.running = threading.Semaphore(0)
        self.held = threading.Event()

    def encode(self, texts: Sequence[list[int]]) -> NDArray[np.float32]:
        self.passes.append(list(texts))
        self.running.release()
        self.held.wait(30)
        if any(ids[0] == 0 for ids in texts):
            raise ValueError("broken")
        return np.array([[ids[0], len(ids)] for ids in texts], dtype=np.float32)


def together(network: Network, first: list[int], *later: list[int], most: int = 4) -> list[Future[NDArray[np.float32]]]:
    """`first` is in its pass when the later ones come."""
    gathering = Gathering(network.encode, 1, most)
    with ThreadPoolExecutor(8) as threads:
        futures = [threads.submit(gathering.encode, first)]
        assert network.running.acquire(timeout=30)
        for count, ids in enumerate(later, 1):
            futures.append(threads.submit(gathering.encode, ids))
            while len(gathering._waiting) < count:
                time.sleep(0.001)
        network.held.set()
    return futures


def test_texts_of_like_length_that_wait_share_a_pass_and_get_their_own_vectors() -> None:
    network = Network()
    found = together(network, LONG, SHORT, LONG, SHORT_TOO)
    assert [list(each.result()) for each in found] == [[9, 40], [7, 16], [9, 40], [8, 17]]
    assert network.passes == [[LONG], [SHORT, SHORT_TOO], [LONG]]


def test_a_text_that_comes_alone_leaves_alone() -> None:
    network = Network()
    network.held.set()
    gathering = Gathering(network.encode, 1, 4)
    assert list(gathering.encode(SHORT)) == [7, 16]
    assert list(gathering.encode(SHORT)) == [7, 16]
    assert network.passes == [[SHORT], [SHORT]]


def test_a_pass_takes_no_more_texts_than_it_may() -> None:
    network = Network()
    together(network, SHORT, *[SHORT] * 5, most=2)
    assert [len(each) for each in network.passes] == [1, 2, 2, 1]


def test_an_error_reaches_those_of_its_pass_and_nobody_else() -> None:
    network = Network()
    found = together(network, LONG, [0] * 16, SHORT, LONG)
    for broken in found[1:3]:
        with pytest.raises(ValueError, match="broken"):
            broken.result()
    assert list(found[3].result()) == [9, 40]
