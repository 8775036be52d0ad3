"""The user's own code: what it may be, and that its errors are told with the place in it."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from fdikp_edge.models.sources.find import find
from fdikp_edge.runtime.errors import SourceError
from torch import nn

NET = """
import torch
from torch import nn
from fdikp_edge.models.sources import NetworkSource, TensorSpec

class Net(nn.Module):
    def __init__(self, width=2, *, kind="plain"):
        super().__init__()
        self.body = nn.Conv2d(1, width, 3, padding=1)
        self.kind = kind
    def forward(self, noisy):
        return self.body(noisy)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "net.py").write_text(NET)
    return tmp_path


def write(folder: Path, text: str, name: str = "net.py") -> Path:
    (folder / name).write_text(text)
    return folder / name


def test_a_class_is_built_with_the_arguments_and_a_fixed_seed(folder: Path) -> None:
    spec = f"{folder / 'net.py'}:Net"
    source = find(spec, arguments={"width": 5, "kind": "fft"})
    network: Any = source.load()
    assert (network.body.out_channels, network.kind, network.training) == (5, "fft", False)
    assert (source.name, source.spec, source.inputs[0].name, source.inputs[0].color) == (
        "Net",
        spec,
        "noisy",
        "grey",
    )
    same, other = find(spec, arguments={"width": 5}), find(spec, arguments={"width": 5}, seed=1)
    assert torch.equal(same.load().body.weight, network.body.weight)  # type: ignore[union-attr]
    assert not torch.equal(other.load().body.weight, network.body.weight)  # type: ignore[union-attr]
    assert "seed 1" in other.note


def test_the_seed_leaves_the_generator_of_the_program_alone(folder: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    find(str(folder / "net.py"))
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(
    ("more", "spec", "name"),
    [
        ("", "net.py", "Net"),
        ("instance = Net()", "net.py:instance", "instance"),
        ("def make(width=3): return Net(width)", "net.py:make", "make"),
        ("class Holder: net = Net()", "net.py:Holder.net", "Holder-net"),
        (
            "source = NetworkSource('mine', '', Net, (TensorSpec('noisy', (1, 1, 8, 8)),))\n"
            "class More(Net): pass",
            "net.py",
            "mine",
        ),
        (
            "def make(): return NetworkSource('made', '', Net, (TensorSpec('noisy', (1, 1, 8, 8)),))",
            "net.py:make",
            "made",
        ),
    ],
    ids=["class alone", "instance", "function", "dotted", "source alone", "function of a source"],
)
def test_what_an_attribute_can_be(folder: Path, more: str, spec: str, name: str) -> None:
    write(folder, NET + more)
    source = find(str(folder / spec))
    assert source.name == name and type(source.load()).__name__ == "Net"
    assert source.load() is source.load(), "a network is built once"


@pytest.mark.parametrize(
    ("more", "spec", "arguments", "match"),
    [
        ("", "net.py:Nte", {}, "has no 'Nte'; there are: Net$"),
        ("class B(Net): pass", "net.py", {}, r"several networks; write .*net\.py:NAME; there are: Net, B$"),
        ("del Net", "net.py", {}, "defines no nn.Module and no NetworkSource"),
        (
            "",
            "net.py:Net",
            {"widht": 3},
            r"'widht'; give --model-arg NAME=VALUE. It takes: width=2, kind='plain'",
        ),
        ("class B(Net):\n  def __init__(self, depth): pass", "net.py:B", {}, "'depth'; give --model-arg"),
        ("x = 3", "net.py:x", {}, "is int 3, not a network"),
        ("class P: pass", "net.py:P", {}, "the class P is no nn.Module"),
        ("def make(): return 3", "net.py:make", {}, "returned int 3; expected an nn.Module"),
        ("instance = Net()", "net.py:instance", {"width": 3}, "--model-arg width means nothing here"),
        ("", "net.py:Net Net", {}, "'Net Net' is no name"),
        (
            "s = NetworkSource('n', '', lambda: 3, (TensorSpec('x', (1,)),))",
            "net.py:s",
            {},
            r"load\(\) returned int 3",
        ),
    ],
)
def test_what_is_no_network_is_told(
    folder: Path, more: str, spec: str, arguments: dict[str, Any], match: str
) -> None:
    write(folder, NET + more)
    with pytest.raises(SourceError, match=match):
        find(str(folder / spec), arguments=arguments)


@pytest.mark.parametrize(
    ("text", "line", "match"),
    [
        ("import torch\n\nraise RuntimeError('broken here')", 3, "RuntimeError: broken here"),
        ("import torch\nx = (1,\n", 2, "SyntaxError: '\\(' was never closed"),
        ("\nimport a_package_that_is_not_installed", 2, "ModuleNotFoundError: No module named 'a_package"),
        ("import sys\nsys.exit(3)", 2, "SystemExit: 3"),
        (
            "from torch import nn\nclass N(nn.Module):\n def __init__(self):\n  super().__init__()\n"
            "  self.c = nn.Conv2d(1, 'a', 3)",
            5,
            "TypeError",
        ),
        (
            "from fdikp_edge.models.sources import TensorSpec\nT = TensorSpec('a b', (1,))",
            2,
            "input 'a b': the name must",
        ),
    ],
    ids=["raise", "syntax", "import", "exit", "constructor", "ours"],
)
def test_an_error_in_the_users_code_is_one_message_with_its_place(
    tmp_path: Path, text: str, line: int, match: str
) -> None:
    path = write(tmp_path, text)
    with pytest.raises(SourceError, match=match) as caught:
        find(str(path))
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert "\n" not in str(caught.value)


def test_a_file_imports_its_neighbours_and_leaves_the_search_path_alone(tmp_path: Path) -> None:
    before = list(sys.path)
    for folder, width in (("a", 3), ("b", 4)):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder, f"WIDTH = {width}", "my_settings.py")
        write(
            tmp_path / folder,
            "from torch import nn\nimport my_settings\ndef make():\n"
            " import my_settings as late\n return nn.Conv2d(late.WIDTH, my_settings.WIDTH, 1)",
        )
    for folder, width in (("a", 3), ("b", 4), ("a", 3)):
        network: Any = find(f"{tmp_path / folder / 'net.py'}:make").load()
        assert (network.in_channels, network.out_channels) == (width, width)
    assert sys.path == before


@pytest.mark.parametrize("put", ["sys.path.insert(0, {!r})", "sys.path.append({!r})"])
def test_a_folder_that_a_file_adds_to_the_search_path_is_there_when_its_factory_runs(
    tmp_path: Path, put: str
) -> None:
    before = list(sys.path)
    for folder, width in (("a", 3), ("b", 4)):
        elsewhere = tmp_path / f"{folder}-clone"
        (elsewhere / "my_models").mkdir(parents=True)
        (tmp_path / folder).mkdir()
        write(elsewhere / "my_models", f"WIDTH = {width}", "parts.py")
        write(
            tmp_path / folder,
            f"import sys\n{put.format(str(elsewhere))}\nfrom torch import nn\ndef make():\n"
            " from my_models.parts import WIDTH\n return nn.Conv2d(WIDTH, WIDTH, 1)",
        )
    for folder, width in (("a", 3), ("b", 4), ("a", 3)):
        network: Any = find(f"{tmp_path / folder / 'net.py'}:make").load()
        assert network.in_channels == width
    assert sys.path == before


def test_modules_are_found_installed_or_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(find("torch.nn:Identity").load(), nn.Identity)
    package = tmp_path / "some_package_of_mine"
    package.mkdir()
    write(package, NET, "nets.py")
    # A folder of the user's does not hide what is installed.
    write(tmp_path, "raise RuntimeError('hidden')", "torchgen.py")
    monkeypatch.chdir(tmp_path)
    assert find("some_package_of_mine.nets:Net").name == "Net"
    with pytest.raises(SourceError, match=r"no module named 'some_package_of_mine\.nest'"):
        find("some_package_of_mine.nest:Net")


@pytest.mark.parametrize(
    "spec", ["missing.py", "missing.py:Net", "no_such_package:Net", "a b:Net", "a/b:Net"]
)
def test_what_is_not_there_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SourceError):
        find(spec)


def test_a_file_that_failed_can_be_loaded_again_once_it_is_mended(tmp_path: Path) -> None:
    path = write(tmp_path, "1 / 0")
    with pytest.raises(SourceError, match="ZeroDivisionError"):
        find(str(path))
    write(tmp_path, NET)
    assert find(str(path)).name == "Net"


def test_weights_are_put_in_and_named(folder: Path) -> None:
    spec = str(folder / "net.py")
    weights = folder / "w.pth"
    wanted: Any = find(spec, seed=7).load()
    torch.save({"params": wanted.state_dict()}, weights)
    source = find(spec, weights=weights)
    assert torch.equal(source.load().body.weight, wanted.body.weight)  # type: ignore[union-attr]
    assert source.note == "loaded from w.pth" and any("'params'" in note for note in source.notes)
