import warnings

import pytest
from fdikp_edge.runtime import program
from fdikp_edge.runtime.errors import BadInputError, CheckFailedError


def left(capsys: pytest.CaptureFixture[str], error: BaseException, **options: str) -> tuple[object, str]:
    def main() -> None:
        warnings.warn("of a library", UserWarning, stacklevel=1)
        raise error

    with pytest.raises(SystemExit) as raised:
        program.run(main, **options)
    return raised.value.code, capsys.readouterr().err


def test_errors_become_a_message_and_a_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert left(capsys, BadInputError("no such photo")) == (2, "error: no such photo\n")
    assert left(capsys, CheckFailedError("too far off")) == (1, "error: too far off\n")
    assert left(capsys, KeyboardInterrupt()) == (130, "")
    assert left(capsys, KeyboardInterrupt(), interrupted="goes on") == (130, "goes on\n")


def test_what_the_system_refuses_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    full = OSError(28, "No space left on device", "steps.csv")
    assert left(capsys, full) == (2, "error: steps.csv: No space left on device\n")


def test_a_missing_library_says_what_to_install(capsys: pytest.CaptureFixture[str]) -> None:
    code, printed = left(capsys, ModuleNotFoundError("…", name="skimage"), extra="train")
    assert code == 2
    assert (
        printed == 'error: this needs skimage, which is not installed here: pip install "fdikp-edge[train]"\n'
    )


def test_mistakes_of_ours_are_not_hidden() -> None:
    def wrong() -> None:
        raise ZeroDivisionError

    def module() -> None:
        raise ModuleNotFoundError("…", name="fdikp_edge.nowhere")

    for main, kind in ((wrong, ZeroDivisionError), (module, ModuleNotFoundError)):
        with pytest.raises(kind):
            program.run(main)
