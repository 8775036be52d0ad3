"""Files of torch.export.save: what is read computes the same, and nothing in a hostile file ever runs."""

import contextlib
import copy
import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from fdikp_edge.models.sources.find import find
from fdikp_edge.runtime.errors import BadInputError, SourceError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

Entries = dict[str, bytes]
WEIGHTS = "data/weights/model_weights_config.json"
CONSTANTS = "data/constants/model_constants_config.json"


class Net(nn.Module):
    """Weights, shared ones, buffers, a constant, complex numbers, several results, lists and blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.again = nn.Conv2d(3, 4, 3, padding=1)
        self.again.weight = self.conv.weight
        self.norm = nn.BatchNorm2d(4)
        self.register_buffer("gain", torch.tensor([0.5, 2.0]).repeat(2)[:, None, None])
        self.spectrum = nn.Parameter(torch.randn(4, 8, 5, dtype=torch.complex64))

    def forward(self, image: Tensor) -> Any:
        y = self.norm(self.conv(image)) + self.again(image)
        y = torch.fft.irfft2(torch.fft.rfft2(y, norm="ortho") * self.spectrum, s=(8, 8), norm="ortho")
        with torch.no_grad():
            kept = y.abs()
        first, second = torch.split(y, 2, 1)
        top, places = y.max(dim=1)
        mixed = torch.cat([second, first], 1).to(torch.float64).float() + torch.tensor(2.0) * self.gain
        return {"a": mixed, "b": (kept, places, nn.functional.gelu(top, approximate="tanh"))}


@pytest.fixture(scope="module")
def network() -> Net:
    torch.manual_seed(0)
    return Net().eval()


@pytest.fixture(scope="module")
def saved(network: Net, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pt2") / "net.pt2"
    torch.export.save(torch.export.export(network, (torch.rand(1, 3, 8, 8),)), path)
    return path


def entries(path: Path) -> Entries:
    with zipfile.ZipFile(path) as archive:
        return {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}


def write(path: Path, content: Entries, compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in content.items():
            archive.writestr(f"net/{name}", data)
    return path


def test_what_is_read_computes_the_same(network: Net, saved: Path) -> None:
    source = find(str(saved))
    (spec,) = source.inputs
    assert (spec.name, spec.shape, spec.color, source.name) == ("image", (1, 3, 8, 8), "RGB", "net")
    read = source.load()
    for seed in range(3):
        image = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
        with torch.no_grad():
            expected, actual = torch.utils._pytree.tree_leaves(network(image)), read(image)
        assert len(expected) == len(actual) == 4
        assert all(torch.equal(a, b) for a, b in zip(expected, actual, strict=True))
    weights = read.state_dict()
    assert all(
        torch.equal(weights[key], value) for key, value in network.state_dict().items() if key in weights
    )
    assert {"conv.weight", "gain", "norm.running_mean", "spectrum"} <= set(weights)


def test_it_can_be_traced_and_copied(saved: Path) -> None:
    read = copy.deepcopy(find(str(saved)).load())
    image = torch.rand(1, 3, 8, 8)
    program = torch.export.export(read, (image,))
    assert all(torch.equal(a, b) for a, b in zip(program.module()(image), read(image), strict=True))


def test_sixteen_bits_become_thirty_two_and_it_is_told(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU()).half().eval()
    path = tmp_path / "half.pt2"
    torch.export.save(torch.export.export(network, (torch.rand(1, 3, 8, 8).half(),)), path)
    source = find(str(path))
    image = torch.rand(1, 3, 8, 8)
    with torch.no_grad():
        assert torch.equal(source.load()(image), copy.deepcopy(network).float()(image))
    assert source.inputs[0].dtype == "float32" and any("float16" in note for note in source.notes)


def test_a_network_of_two_tensors(tmp_path: Path) -> None:
    class Two(nn.Module):
        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            return a * b.float()

    path = tmp_path / "two.pt2"
    torch.export.save(torch.export.export(Two(), (torch.rand(4), torch.arange(4))), path)
    source = find(str(path))
    assert [(spec.name, spec.dtype, spec.layout) for spec in source.inputs] == [
        ("a", "float32", None),
        ("b", "int64", None),
    ]
    from fdikp_edge.models.sources import TensorSpec

    with pytest.raises(SourceError, match="2 inputs"):
        find(str(path), inputs=[TensorSpec("a", (4,))])
    with pytest.raises(SourceError, match=r"exported for input 'b' of 4, not 5"):
        find(str(path), inputs=[TensorSpec("a", (4,)), TensorSpec("b", (5,), "int64", None)])


class Evil:
    """Creates a folder when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        import os

        return os.mkdir, (str(self.mark),)


def changed(content: Entries, name: str, change: Callable[[Any], object]) -> Entries:
    parsed = json.loads(content[name])
    change(parsed)
    return content | {name: json.dumps(parsed).encode()}


def evil_payloads(content: Entries, mark: Path) -> dict[str, Entries]:
    """Return files that run code when torch.export.load opens them, each by another way."""
    buffer = io.BytesIO()
    torch.save(Evil(mark), buffer)

    def pickled(table: Any) -> None:
        table["config"]["gain"]["use_pickle"] = True
        table["config"]["gain"]["path_name"] = "weight_evil"

    def opaque(table: Any) -> None:
        table["config"]["lifted_tensor_0"] |= {"path_name": "opaque_obj_0", "use_pickle": True}

    return {
        "example inputs": content | {"data/sample_inputs/model.pt": buffer.getvalue()},
        "pickled weight": changed(content, WEIGHTS, pickled)
        | {"data/weights/weight_evil": buffer.getvalue()},
        "opaque constant": changed(content, CONSTANTS, opaque)
        | {"data/constants/opaque_obj_0": pickle.dumps(Evil(mark))},
    }


@pytest.mark.parametrize("way", ["example inputs", "pickled weight", "opaque constant"])
def test_no_pickle_in_a_file_is_ever_run(saved: Path, tmp_path: Path, way: str) -> None:
    mark = tmp_path / "was-here"
    path = write(tmp_path / "evil.pt2", evil_payloads(entries(saved), mark)[way])
    if way == "example inputs":  # which are not needed, and not looked at
        assert find(str(path)).load() is not None
    else:
        with pytest.raises(SourceError, match="pickled or an object of another class"):
            find(str(path))
    assert not mark.exists()
    with contextlib.suppress(Exception):
        torch.export.load(path)
    assert mark.exists(), "the file was harmless, so this test proved nothing"


def first_node(model: Any) -> Any:
    return model["graph_module"]["graph"]["nodes"][0]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda m: first_node(m).update(target="torch.ops.aten.save.default"), "save|not return"),
        (lambda m: first_node(m).update(target="torch.ops.aten.__dict__.default"), "public operators"),
        (lambda m: first_node(m).update(target="torch.os.system"), "'torch.os.system', not one of"),
        (lambda m: first_node(m).update(target="torch.ops.aten.conv2d.__call__"), "does not have"),
        (lambda m: first_node(m).update(target="torch.ops.aten.no_such_thing.default"), "does not have"),
        (lambda m: first_node(m).update(target="torch.ops.evil.op.default"), "public operators"),
        (
            lambda m: first_node(m).update(target="torch.ops.aten._cufft_get_plan_cache_size.default"),
            "public",
        ),
        (
            lambda m: first_node(m).update(
                target="torch.ops.aten.from_file.default",
                inputs=[{"name": "filename", "arg": {"as_string": "/tmp/x"}, "kind": 1}],
            ),
            "'filename' as 'as_string'",
        ),
        (lambda m: m["range_constraints"].update(s0={"min_val": 2, "max_val": 9}), "dynamic shapes"),
        (
            lambda m: m["graph_module"]["graph"]["tensor_values"]["image"]["sizes"].__setitem__(
                0, {"as_expr": {"expr_str": "__import__('os').abort()"}}
            ),
            "dynamic shapes",
        ),
        (
            lambda m: m["graph_module"]["signature"]["input_specs"].append({"custom_obj": {}}),
            "of the kind 'custom_obj'",
        ),
        (
            lambda m: m["graph_module"]["signature"]["output_specs"].append({"buffer_mutation": {}}),
            "changes its own state",
        ),
        (lambda m: m["graph_module"]["graph"].pop("nodes"), "no list 'nodes'"),
        (lambda m: m.pop("graph_module"), "no table 'graph_module'"),
        (lambda m: m["graph_module"]["graph"]["outputs"].append({"as_int": 3}), "'as_int', not a tensor"),
    ],
)
def test_graphs_that_ask_for_more_are_refused(
    saved: Path, tmp_path: Path, change: Callable[[Any], object], match: str
) -> None:
    path = write(tmp_path / "x.pt2", changed(entries(saved), "models/model.json", change))
    with pytest.raises(SourceError, match=match) as caught:
        find(str(path))
    assert str(caught.value).startswith(f"{path}: ") and len(str(caught.value)) < 600


def test_guards_are_text_that_is_never_evaluated(saved: Path, tmp_path: Path) -> None:
    mark = tmp_path / "was-here"
    guard = f"__import__('os').mkdir({str(mark)!r}) or True"
    content = changed(entries(saved), "models/model.json", lambda m: m.update(guards_code=[guard]))
    network = find(str(write(tmp_path / "x.pt2", content))).load()
    network(torch.rand(1, 3, 8, 8))
    assert not mark.exists()


@pytest.mark.parametrize(
    ("field", "value", "match"),
    [
        ("sizes", [{"as_int": 2**40}, {"as_int": 1}, {"as_int": 1}], "not wholly in the file"),
        ("sizes", [{"as_int": -1}, {"as_int": 1}, {"as_int": 1}], "impossible shape"),
        ("sizes", [{"as_int": 1}], "impossible shape"),
        ("strides", [{"as_int": 2**20}, {"as_int": 1}, {"as_int": 1}], "not wholly in the file"),
        ("storage_offset", {"as_int": 4000}, "not wholly in the file"),
        ("dtype", 99, "unsupported type"),
    ],
)
def test_weights_stay_inside_their_bytes(
    saved: Path, tmp_path: Path, field: str, value: object, match: str
) -> None:
    def change(table: Any) -> None:
        table["config"]["gain"]["tensor_meta"][field] = value

    path = write(tmp_path / "x.pt2", changed(entries(saved), WEIGHTS, change))
    with pytest.raises(SourceError, match=match):
        find(str(path))


def test_weights_are_found_by_plain_names_only(saved: Path, tmp_path: Path) -> None:
    def change(table: Any) -> None:
        table["config"]["gain"]["path_name"] = "../../../etc/passwd"

    with pytest.raises(SourceError, match="object of another class"):
        find(str(write(tmp_path / "x.pt2", changed(entries(saved), WEIGHTS, change))))


def test_other_archives_are_refused(saved: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.pt2"
    content = entries(saved)
    without_format = {k: v for k, v in content.items() if k != "archive_format"}
    compiled = content | {"data/aotinductor/model/x.so": b""}
    for changed_content, match in (
        (without_format, "not in the format"),
        (compiled, "compiled code"),
        ({k: v for k, v in content.items() if k != WEIGHTS}, "has no data/weights"),
        (content | {"models/model.json": b"[" * 100_000}, "nested"),
        (content | {"models/model.json": b"{}"}, "no table 'graph_module'"),
    ):
        with pytest.raises(SourceError, match=match):
            find(str(write(path, changed_content)))
    with pytest.raises(SourceError, match="compressed"):
        find(str(write(path, content, zipfile.ZIP_DEFLATED)))
    path.write_bytes(b"nothing")
    with pytest.raises(SourceError, match="not a file of torch"):
        find(str(path))
    with pytest.raises(SourceError, match="no such file"):
        find(str(tmp_path / "none.pt2"))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_damage_is_a_typed_error_or_a_network(saved: Path, tmp_path: Path, data: st.DataObject) -> None:
    content = entries(saved)
    name = data.draw(st.sampled_from(["models/model.json", WEIGHTS, CONSTANTS]))
    damaged = bytearray(content[name])
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(
            st.sampled_from(b'0123456789{}[]",:antu.')
        )
    path = write(tmp_path / "x.pt2", content | {name: bytes(damaged)})
    try:
        find(str(path))
    except BadInputError as error:
        assert str(path) in str(error)
