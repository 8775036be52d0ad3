from pathlib import Path

import pytest
from fdikp_edge.cli.source import parse_arguments, source_of
from fdikp_edge.runtime.errors import BadInputError


def test_arguments_are_json_and_bare_words_are_texts() -> None:
    texts = ["width=32", "scale=0.5", "deep=true", "kind=fft", 'name="a b"', "sizes=[1, 2]", "none=null"]
    texts.append("eq=a=b")
    assert parse_arguments(texts) == {
        "width": 32,
        "scale": 0.5,
        "deep": True,
        "kind": "fft",
        "name": "a b",
        "sizes": [1, 2],
        "none": None,
        "eq": "a=b",
    }
    assert parse_arguments(["deep=" + "[" * 100_000])["deep"].startswith("[")


@pytest.mark.parametrize(
    ("texts", "match"),
    [
        (["width"], "--model-arg width: write NAME=VALUE"),
        (["=3"], "write NAME=VALUE"),
        (["a b=3"], "write NAME=VALUE"),
        (["a=1", "a=2"], "a is given twice"),
    ],
)
def test_other_arguments_are_refused(texts: list[str], match: str) -> None:
    with pytest.raises(BadInputError, match=match):
        parse_arguments(texts)


def test_all_options_reach_the_source(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "from torch import nn\n"
        "class Net(nn.Module):\n"
        "    def __init__(self, gain):\n"
        "        super().__init__()\n"
        "        self.gain = nn.Parameter(__import__('torch').tensor(float(gain)))\n"
        "    def forward(self, x, y):\n"
        "        return self.gain * x + y\n"
        "def largest(reference, result): return {'largest': abs(result).max()}\n"
    )
    source = source_of(
        f"{tmp_path / 'net.py'}:Net",
        ["gain=3"],
        input=["x=1x4", "y=1x4:-2..2"],
        metric=f"{tmp_path / 'net.py'}:largest",
    )
    assert [spec.name for spec in source.inputs] == ["x", "y"]
    assert source.inputs[1].value_range == (-2.0, 2.0)
    assert source.load().gain.item() == 3.0  # type: ignore[union-attr,operator]
    assert source.metric is not None
