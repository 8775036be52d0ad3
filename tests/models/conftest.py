from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def same_random_numbers() -> Iterator[None]:
    """Give every test the same random inputs, whichever ran before it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1234)
        yield
