"""`lab.yaml` from outside: what is read, and what is refused before anything is connected to."""

from __future__ import annotations

from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import pytest
from fdikp_edge.benchmarks.lab.plan import Board, LabPlan, Place, read_plan
from fdikp_edge.runtime.errors import BadInputError

yaml = pytest.importorskip("yaml", reason="PyYAML reads the plan (extra lab)")

BOARD = "boards: [{name: a, ssh: host}]\n"


def read(folder: Path, text: str) -> LabPlan:
    (folder / "lab.yaml").write_text(text, encoding="utf-8")
    return read_plan(folder / "lab.yaml")


def test_everything_that_a_plan_may_say(tmp_path: Path) -> None:
    plan = read(
        tmp_path,
        """\
bundle: ../model.bundle
coordinator: lab.example:20408
minutes: 30
wait_minutes: 0
profile: {queries: 50, seconds: 5, soak: 0}
boards:
  - {name: nano, ssh: "jetson@192.168.1.20:2222", python: /usr/bin/python3, folder: lab/x, build: never}
  - {name: six, ssh: "[fe80::1]:22"}
  - {name: orin, tags: {board: orin-nx}}
""",
    )
    place = Place("192.168.1.20", 2222, "jetson")
    assert plan == LabPlan(
        bundle=tmp_path / "../model.bundle",
        boards=(
            Board("nano", place, {}, "/usr/bin/python3", "lab/x", "never"),
            Board("six", Place("fe80::1", 22)),
            Board("orin", None, {"board": "orin-nx"}),
        ),
        coordinator="lab.example:20408",
        profile={"queries": 50, "seconds": 5, "soak": 0},
        minutes=30,
        wait_minutes=0,
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "expected keys and values"),
        ("[" * 100_000, "nested too deeply"),
        ("a: &x [1]\nb: *x\n", "anchors and aliases"),
        ("bundle: !!python/object/apply:os.system [ls]\n", "tags, anchors"),
        ("bundle: x\nbundle: y\n" + BOARD, "bundle appears twice"),
        ("bundle: x\n? [a]\n: b\n", "keys have to be text"),
        ("bundle: x\n<<: {a: b}\n", "is no YAML"),
        ("bundle: [\n", "is no YAML"),
        ("bundle: x\0\n", "is no YAML"),
        ("bundle: x\n", "boards: expected a list"),
        (f"bundle: x\nboards: [{'{name: a, ssh: b},' * 65}]\n", "1 to 64 boards"),
        ("bundle: x\nshell: rm\n" + BOARD, "no key 'shell'"),
        ("bundle: 2020-01-01\n" + BOARD, "bundle: expected text"),
        ("bundle: x\nboards: [{name: a, ssh: h}, {name: A, ssh: h}]\n", "two are called a"),
        ("bundle: x\nboards: [{name: a}]\n", "one of the two"),
        ("bundle: x\nboards: [{name: a, tags: {board: x}}]\n", "no coordinator"),
        ("bundle: x\nboards: [{name: ../a, ssh: h}]\n", "name"),
        ("bundle: x\nboards: [{name: a, ssh: -oProxyCommand=ls}]\n", "is no host"),
        ("bundle: x\nboards: [{name: a, ssh: '-l@host'}]\n", "is no user"),
        ("bundle: x\nboards: [{name: a, ssh: 'h:70000'}]\n", "port 70000"),
        ("bundle: x\nboards: [{name: a, ssh: 'h; ls'}]\n", "is no host"),
        ("bundle: x\nboards: [{name: a, ssh: h, python: 'python3; ls'}]\n", "python"),
        ("bundle: x\nboards: [{name: a, ssh: h, folder: ../x}]\n", "folder"),
        ("bundle: x\nboards: [{name: a, ssh: h, build: maybe}]\n", "expected one of required"),
        ("bundle: x\nprofile: {out: x}\n" + BOARD, "no key 'out'"),
        ("bundle: x\nprofile: {queries: 1.5}\n" + BOARD, "whole number"),
        ("bundle: x\nprofile: {seconds: .nan}\n" + BOARD, "expected a number"),
        ("bundle: x\nminutes: true\n" + BOARD, "expected a number"),
    ],
)
def test_what_is_refused_is_named(text: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=reason):
        read(tmp_path, text)


def test_a_large_file_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="larger than"):
        read(tmp_path, "#" * (1 << 19))


@hypothesis.given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["bundle", "boards"]), inner)
        ),
        max_leaves=10,
    )
)
def test_any_yaml_is_a_plan_or_refused(value: object) -> None:
    from fdikp_edge.benchmarks.lab import plan

    text = yaml.safe_dump({"bundle": "x", "boards": [value], "profile": value})
    with pytest.raises(BadInputError):
        plan._plan(Path("lab.yaml"), plan._parse(Path("lab.yaml"), text.encode()))
