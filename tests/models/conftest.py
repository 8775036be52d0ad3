from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def reproducible_and_polite() -> Iterator[None]:
    """Give every test the same random inputs, whichever ran before it, and one thread.

    On small tensors a second thread gains little, and on a busy machine it waits at every operator.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1234)
        yield
    torch.set_num_threads(threads)
