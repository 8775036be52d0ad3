"""Bounds on pickles: honest files pass, files that would take ages or gigabytes do not."""

import io
import pickle
import zipfile
from typing import Any

import pytest
import torch
from fdikp_edge.models import pickle_bounds
from fdikp_edge.models.pickle_bounds import check_pickle


def contents(value: object) -> bytes:
    """Return the pickle inside what torch.save writes."""
    buffer = io.BytesIO()
    torch.save(value, buffer)
    with zipfile.ZipFile(buffer) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("data.pkl"))
        return archive.read(name)


def doubled(kind: type, times: int) -> Any:
    value = kind()
    for _ in range(times):
        value = kind([value, value])
    return value


def test_what_trainers_write_passes() -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    optimiser = torch.optim.Adam(network.parameters())
    network(torch.rand(1, 3, 8, 8)).sum().backward()
    optimiser.step()
    whole = {
        "state_dict": network.state_dict(),
        "optimizer": optimiser.state_dict(),
        "epoch": 3,
        "loss": [0.5, float("inf")],
        "options": {"lr": 1e-3, "sizes": (1, 2, 3), "name": "x", "seed": None, "done": True},
        "parameter": network[0].weight,
        "generator": torch.get_rng_state(),
        "half": torch.ones(2, dtype=torch.bfloat16),
        "complex": torch.ones(2, dtype=torch.complex64),
        "shape": torch.Size([1, 2]),
        "type": torch.float16,
    }
    check_pickle(contents(whole))
    check_pickle(contents(network.state_dict()))


@pytest.mark.parametrize("kind", [tuple, list])
def test_values_that_double_sixty_times_are_refused(kind: type) -> None:
    check_pickle(contents(doubled(kind, 10)))
    for bomb in (doubled(kind, 60), {"key": doubled(kind, 60)}):
        with pytest.raises(ValueError, match="holds more than"):
            check_pickle(contents(bomb))
    with pytest.raises(ValueError, match="holds more than"):
        check_pickle(pickle.dumps({doubled(tuple, 21): 1}, protocol=2))


@pytest.mark.parametrize("protocol", [2, 4])
def test_calls_that_no_file_of_tensors_needs_are_refused(protocol: int) -> None:
    class Call:
        def __init__(self, function: Any, *arguments: Any) -> None:
            self.reduced = function, arguments

        def __reduce__(self) -> Any:
            return self.reduced

    for call in (Call(bytearray, 6), Call(torch.FloatTensor, 3), Call(print, "x"), Call(eval, "1")):
        with pytest.raises(ValueError, match="which no file of tensors needs"):
            check_pickle(pickle.dumps(call, protocol))


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"", "pickle exhausted|no more"),
        (b"\x80\x02K\x01", "exhausted|before"),
        (b"\x80\x02.", "stack is damaged|leaves"),
        (b"\x80\x02t.", "stack is damaged"),
        (b"\x80\x02h\x05.", "not there"),
        (b"\x80\x02(q\x00.", "stack is damaged"),
        (b"\x80\x02K\x01K\x02.", "nothing uses"),
        (b"\x80\x02(a.", "stack is damaged"),
    ],
)
def test_damaged_pickles_are_refused(data: bytes, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        check_pickle(data)


def test_length_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    data = pickle.dumps(list(range(100)), protocol=2)
    monkeypatch.setattr(pickle_bounds, "MAX_OPCODES", 50)
    with pytest.raises(ValueError, match="more than 50 instructions"):
        check_pickle(data)
    monkeypatch.setattr(pickle_bounds, "MAX_BYTES", 50)
    with pytest.raises(ValueError, match=f"{len(data)} bytes"):
        check_pickle(data)
