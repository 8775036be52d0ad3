"""Programs of Jetson Linux that behave as recorded ones do, and the files that go with them.

``nvpmodel`` sets a mode at once; mode 3 needs a restart, for which it asks as the real one does (recorded on
an Orin Nano and an AGX Thor). ``tegrastats`` draws more power in modes of higher numbers. Test use only.
"""

from __future__ import annotations

from pathlib import Path

import pytest

CONF = """\
< PARAM TYPE=CLOCK NAME=EMC >
MAX_FREQ /sys/kernel/nvpmodel_emc_cap/emc_iso_cap

< POWER_MODEL ID=0 NAME=15W >
CPU_ONLINE CORE_0 1
GPU MAX_FREQ 612000000
# < POWER_MODEL ID=9 NAME=COMMENT >
< POWER_MODEL ID=1 NAME=25W >
GPU MAX_FREQ 918000000
< POWER_MODEL ID=3 NAME=7W >
CPU_ONLINE CORE_5 0
< POWER_MODEL ID=2 NAME=MAXN_SUPER >
GPU MAX_FREQ -1
< PM_CONFIG DEFAULT=1 >
"""
NAMES = {"0": "15W", "1": "25W", "2": "MAXN_SUPER", "3": "7W"}
_NVPMODEL = """\
#!/bin/sh
name() { case $1 in 0) echo 15W;; 1) echo 25W;; 2) echo MAXN_SUPER;; 3) echo 7W;; esac; }
case $1 in
-q) echo "NV Power Mode: $(name $(cat STATE))"; cat STATE;;
-m) echo "$2" >> LOG
    if [ "$2" = 3 ]; then
        echo "NVPM WARN: Golden image context is already created"
        echo "NVPM WARN: Reboot required for changing to this power mode: $2"
        echo "NVPM WARN: DO YOU WANT TO REBOOT NOW? enter YES/yes to confirm:"
        read answer
        case $answer in
        YES|yes) echo rebooted >> LOG;;
        *) echo "NVPM ERROR: bad input!"; echo "NVPM ERROR: optMask is 1, no request for power mode"; exit 1;;
        esac
    elif [ -e BROKEN ]; then
        echo "NVPM ERROR: Error writing $2 to /sys/devices/gpu.0/fbp_pg_mask: 19"
        echo "NVPM ERROR: failed to set power mode!"
    else
        echo "$2" > STATE
    fi;;
esac
"""
_TEGRASTATS = """\
#!/bin/sh
while :; do
    mw=$((4000 + 3000 * $(cat STATE)))
    echo "11-15-2024 08:38:09 RAM 6185/7620MB (lfb 8x2MB) CPU [15%@729,11%@729] EMC_FREQ 43%@2133 \
GR3D_FREQ 63%@[621] cpu@53.968C tj@53.968C VDD_IN ${mw}mW/${mw}mW"
    sleep 0.05
done
"""


class Board:
    """A Jetson on the search path."""

    def __init__(self, folder: Path) -> None:
        """Write its programs and files."""
        self.folder, self.conf = folder, folder / "nvpmodel.conf"
        self.state, self.log, self.broken = folder / "state", folder / "log", folder / "broken"
        self.conf.write_text(CONF, encoding="utf-8")
        self.state.write_text("1\n", encoding="ascii")
        self.log.write_text("", encoding="ascii")
        for name, text in (("nvpmodel", _NVPMODEL), ("tegrastats", _TEGRASTATS)):
            for word, path in (("STATE", self.state), ("LOG", self.log), ("BROKEN", self.broken)):
                text = text.replace(word, str(path))
            (folder / name).write_text(text, encoding="ascii")
            (folder / name).chmod(0o755)

    @property
    def mode(self) -> str:
        """The name of the mode that is set."""
        return NAMES[self.state.read_text().strip()]

    @property
    def asked(self) -> list[str]:
        """The modes that were asked for, in order."""
        return self.log.read_text().split()


def board(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Board:
    """Return a board whose programs are found first."""
    from fdikp_edge.benchmarks.telemetry import power_modes

    made_here = Board(folder)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    monkeypatch.setattr(power_modes, "CONF", made_here.conf)
    monkeypatch.setattr(power_modes.os, "geteuid", lambda: 0)
    return made_here
