"""What the hostile files share: a call that may not hang."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

Within = Callable[[Callable[[], Any]], Any]


@pytest.fixture
def within() -> Within:
    """Return a caller that fails the test, rather than wait for ever, where a call takes over 20 seconds."""

    def call(work: Callable[[], Any]) -> Any:
        outcome: dict[str, Any] = {}

        def worker() -> None:
            try:
                outcome["value"] = work()
            except BaseException as error:  # handed over to the test
                outcome["error"] = error

        thread = threading.Thread(target=worker, daemon=True)
        thread.start()
        thread.join(20)
        assert not thread.is_alive(), "it hangs"
        if "error" in outcome:
            raise outcome["error"]
        return outcome.get("value")

    return call
