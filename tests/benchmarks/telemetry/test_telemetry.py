"""Sensors: recorded lines of real boards, each with its source, and file systems laid out like theirs."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from fdikp_edge.benchmarks.telemetry import Reading, Sampler, find_sources, summary
from fdikp_edge.benchmarks.telemetry.jetson import (
    TegrastatsSource,
    parse_jetson_clocks,
    parse_nvpmodel,
    parse_power_modes,
    power_mode,
    power_mode_without_root,
)
from fdikp_edge.benchmarks.telemetry.jtop import JtopSource
from fdikp_edge.benchmarks.telemetry.jtop import parse as parse_jtop
from fdikp_edge.benchmarks.telemetry.nvml import NvmlSource
from fdikp_edge.benchmarks.telemetry.sysfs import SysfsSource
from fdikp_edge.benchmarks.telemetry.tegrastats import parse, read_recording
from fdikp_edge.runtime.errors import BadInputError, TargetUnavailableError
from hypothesis import given
from hypothesis import strategies as st

LINES = Path(__file__).parent / "lines"
BOARDS: list[dict[str, Any]] = json.loads((LINES / "tegrastats.json").read_text(encoding="utf-8"))
MODES: list[dict[str, Any]] = json.loads((LINES / "nvpmodel.json").read_text(encoding="utf-8"))
CLOCKS: list[dict[str, Any]] = json.loads((LINES / "jetson_clocks.json").read_text(encoding="utf-8"))


def board(name: str) -> Reading:
    (line,) = [entry["line"] for entry in BOARDS if entry["board"].startswith(name)]
    return parse(line)


@pytest.mark.parametrize("entry", BOARDS, ids=lambda entry: entry["board"])
def test_every_recorded_board_has_a_source_and_is_understood(entry: dict[str, Any]) -> None:
    assert entry["source"].startswith("https://")
    reading = parse(entry["line"])
    assert "GR3D" in reading.load_percent or reading.power_mw
    # Nothing of a known board is left over, but what is off, never measures, or was left out of a quotation.
    left = {key for key, value in reading.other.items() if value != "off" and "C" not in value}
    assert left <= {"...", "cpu2"}


def test_orin_nano() -> None:
    reading = board("Jetson Orin Nano 8GB, JetPack 6")
    assert reading.power_mw == {"VDD_IN": 12479, "VDD_CPU_GPU_CV": 4667, "VDD_SOC": 2817}
    assert reading.temperature_c["tj"] == 53.968 and len(reading.temperature_c) == 6
    assert (reading.clock_mhz["GR3D"], reading.load_percent["GR3D"]) == (621, 63)
    assert (reading.clock_mhz["EMC"], reading.clock_mhz["cpu0"], reading.load_percent["cpu5"]) == (
        2133,
        729,
        8,
    )
    assert reading.memory_mb["RAM"] == 6185 and reading.memory_mb["RAM total"] == 7620
    assert reading.other["NVDEC"] == "off"


def test_orin_nx_shows_two_parts() -> None:
    assert board("Jetson Orin NX 16GB, JetPack 5").clock_mhz == {"GR3D": 114, "GR3D2": 114}
    whole = board("Jetson Orin NX 16GB (by its memory")
    assert whole.power_mw == {"VDD_IN": 5299, "VDD_CPU_GPU_CV": 773, "VDD_SOC": 1424}
    assert whole.clock_mhz["GR3D"] == 611 and whole.temperature_c["tj"] == 48.875


def test_agx_orin_at_rest_has_sensors_without_power() -> None:
    reading = board("Jetson AGX Orin 64GB")
    assert set(reading.temperature_c) == {"CPU", "Tboard", "SOC2", "Tdiode", "SOC0", "tj", "SOC1"}
    assert reading.other["GPU"] == "-256C"
    assert set(reading.power_mw) == {"VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0", "VDDQ_VDD2_1V8AO"}
    assert (reading.clock_mhz["GR3D"], reading.clock_mhz["VIC"], reading.clock_mhz["APE"]) == (0, 729, 174)


def test_agx_orin_of_jetpack_7_shows_load_and_a_list_of_clocks() -> None:
    reading = board("Jetson AGX Orin, JetPack 7")
    assert (reading.load_percent["GR3D"], reading.clock_mhz["GR3D"]) == (0, 1300)
    assert reading.temperature_c == {"cpu": 52.968}


def test_xaviers_show_rails_without_units_and_a_constant() -> None:
    nx, agx = board("Jetson Xavier NX"), board("Jetson AGX Xavier")
    assert nx.power_mw == {"VDD_IN": 14703, "VDD_CPU_GPU_CV": 10874, "VDD_SOC": 1405}
    assert set(agx.power_mw) == {"GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"}
    for reading in (nx, agx):
        assert "PMIC" not in reading.temperature_c and reading.other["PMIC"] == "100C"
        assert max(reading.temperature_c.values()) < 50


def test_thor_shows_three_values_a_rail_and_no_processor_clock() -> None:
    reading = board("Jetson AGX Thor")
    assert reading.power_mw["VIN"] == 87426 and reading.power_mw["VDD_GPU"] == 37528
    assert reading.temperature_c["soc345"] == 63.281
    assert (
        "GR3D" not in reading.clock_mhz
        and len([n for n in reading.load_percent if n.startswith("cpu")]) == 14
    )


def test_one_clock_for_all_cores() -> None:
    assert board("Jetson TX1").clock_mhz["cpu3"] == 1734


def test_unknown_words_are_kept() -> None:
    reading = parse("FUTURE_TOKEN some value gpu@40C NEW_UNIT 12% RAIL_X -392mW/5mW")
    assert reading.other == {"FUTURE_TOKEN": "some value"}
    assert reading.temperature_c == {"gpu": 40} and reading.load_percent == {"NEW_UNIT": 12}
    assert reading.power_mw == {"RAIL_X": -392}  # calibration offsets do show below zero


@given(st.text(max_size=300))
def test_no_line_is_an_error(line: str) -> None:
    json.dumps(parse(line).to_dict(), allow_nan=False)


@pytest.mark.parametrize("entry", MODES, ids=lambda entry: entry["board"])
def test_power_modes(entry: dict[str, Any]) -> None:
    assert entry["source"].startswith("https://")
    assert parse_nvpmodel(entry["text"]) == entry["expected"]


@pytest.mark.parametrize("entry", CLOCKS, ids=lambda entry: entry["board"])
def test_held_clocks(entry: dict[str, Any]) -> None:
    parsed = parse_jetson_clocks(entry["text"])
    assert (parsed["locked"], parsed["machine"]) == (entry["locked"], entry["machine"])
    assert list(parsed["units"]) == entry["units"]


@pytest.mark.parametrize(
    ("gpu", "override", "locked"),
    [
        (
            "MinFreq=1020000000 MaxFreq=1020000000",
            "MinFreq=204000000 MaxFreq=3199000000 FreqOverride=1",
            True,
        ),
        (
            "MinFreq=1020000000 MaxFreq=1020000000",
            "MinFreq=204000000 MaxFreq=3199000000 FreqOverride=0",
            False,
        ),
        (
            "MinFreq=306000000 MaxFreq=1020000000",
            "MinFreq=204000000 MaxFreq=3199000000 FreqOverride=1",
            False,
        ),
    ],
)
def test_memory_is_held_by_its_override_and_other_units_do_not_count(
    gpu: int, override: int, locked: bool
) -> None:
    text = (
        "cpu0:  Online=1 Governor=schedutil MinFreq=1984000 MaxFreq=1984000 CurrentFreq=1984000\n"
        f"GPU MinFreq={gpu} MaxFreq=1020000000 CurrentFreq=1020000000\n"
        f"EMC MinFreq=204000000 MaxFreq=3199000000 CurrentFreq=3199000000 FreqOverride={override}\n"
        "DLA0_CORE:   Online=1 MinFreq=0 MaxFreq=614400000 CurrentFreq=0\n"
    )
    assert parse_jetson_clocks(text)["locked"] is locked


CONF = """# < POWER_MODEL ID=id_num NAME=mode_name >
< POWER_MODEL ID=0 NAME=15W >
CPU_ONLINE CORE_0 1
< POWER_MODEL ID=1 NAME=25W >
< POWER_MODEL ID=2 NAME=MAXN_SUPER >
< PM_CONFIG DEFAULT=1 >
"""


def test_the_power_mode_without_root_is_in_two_files(tmp_path: Path) -> None:
    assert parse_power_modes(CONF) == {0: "15W", 1: "25W", 2: "MAXN_SUPER"}
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "nvpmodel.conf").write_text(CONF, encoding="ascii")
    assert "problem" in power_mode_without_root(tmp_path)
    status = tmp_path / "var" / "lib" / "nvpmodel" / "status"
    status.parent.mkdir(parents=True)
    status.write_text("pmode:0002", encoding="ascii")
    expected = {"power_mode": "MAXN_SUPER", "power_mode_id": 2, "from": "/var/lib/nvpmodel/status"}
    assert power_mode_without_root(tmp_path) == expected


def test_programs_that_say_nothing_are_a_problem_in_words() -> None:
    assert "no power mode" in parse_nvpmodel("")["problem"]
    assert "no clocks" in parse_jetson_clocks("Error: Run this script as a root user")["problem"]


def write(root: Path, **files: str) -> None:
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="ascii")


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A /sys as an Orin NX shows it (power rails: ARK-Electronics/ark_jetson_kernel, docs/power.md)."""
    hwmon = "sys/class/hwmon/hwmon3"
    rails = {
        "1": ("VDD_IN", "5040", "5600"),
        "2": ("VDD_CPU_GPU_CV", "5040", "2000"),
        "3": ("VDD_SOC", "5000", "500"),
    }
    write(tmp_path, **{f"{hwmon}/name": "ina3221\n"})
    for number, (label, volts, amps) in rails.items():
        values = {f"in{number}_label": label, f"in{number}_input": volts, f"curr{number}_input": amps}
        write(tmp_path, **{f"{hwmon}/{name}": text + "\n" for name, text in values.items()})
    write(tmp_path, **{f"{hwmon}/in7_label": "sum of shunt voltages\n", f"{hwmon}/in7_input": "9\n"})
    zone = "sys/class/thermal/thermal_zone"
    write(tmp_path, **{f"{zone}0/type": "cpu-thermal\n", f"{zone}0/temp": "86500\n"})
    write(tmp_path, **{f"{zone}0/trip_point_0_type": "critical\n", f"{zone}0/trip_point_0_temp": "104500\n"})
    write(tmp_path, **{f"{zone}0/trip_point_1_type": "passive\n", f"{zone}0/trip_point_1_temp": "87000\n"})
    write(tmp_path, **{f"{zone}1/type": "gpu-thermal\n", f"{zone}1/temp": "-256000\n"})
    cpu = "sys/devices/system/cpu/cpu0"
    write(
        tmp_path,
        **{f"{cpu}/cpufreq/scaling_cur_freq": "1498000\n", f"{cpu}/cpufreq/scaling_governor": "schedutil\n"},
    )
    write(tmp_path, **{f"{cpu}/thermal_throttle/core_throttle_count": "3\n"})
    write(tmp_path, **{"sys/class/devfreq/17000000.gpu/cur_freq": "1173000000\n"})
    write(
        tmp_path,
        **{"sys/class/hwmon/hwmon4/name": "soctherm_oc\n", "sys/class/hwmon/hwmon4/oc1_event_cnt": "0\n"},
    )
    write(
        tmp_path,
        **{
            "sys/class/thermal/cooling_device0/type": "pwm-fan\n",
            "sys/class/thermal/cooling_device0/cur_state": "3\n",
        },
    )
    return tmp_path


def test_sysfs_of_a_jetson(machine: Path) -> None:
    source = SysfsSource(machine)
    source.start()
    reading = source.read()
    assert reading.power_mw == {"VDD_IN": pytest.approx(28224), "VDD_CPU_GPU_CV": 10080, "VDD_SOC": 2500}
    assert reading.temperature_c == {"cpu (0)": 86.5}
    assert reading.clock_mhz == {"cpu0": 1498, "17000000.gpu": 1173}
    assert reading.throttle == {"core throttle count": 3, "oc1": 0}  # a turning fan takes no speed away
    assert source.limits_c() == {"cpu (0)": 87.0}
    assert source.governors() == {"cpu0": "schedutil"}
    assert summary.held_back([reading], source.limits_c()) == [
        "cpu (0) reached 86.5 C, and slows down from 87.0 C"
    ]


def test_a_trip_point_that_only_warns_is_no_limit(machine: Path) -> None:
    """As on Orin: 70 C is bound to an alert alone, and throttling begins near 99 C."""
    thermal = "sys/class/thermal"
    zone = f"{thermal}/thermal_zone0"
    write(machine, **{f"{zone}/trip_point_2_type": "passive\n", f"{zone}/trip_point_2_temp": "70000\n"})
    write(machine, **{f"{zone}/trip_point_1_temp": "99000\n"})
    coolers = ("hot-surface-alert", "2"), ("cpu-throttle", "1"), ("pwm-fan", "2"), ("devfreq", "-1")
    for number, (kind, trip) in enumerate(coolers):
        device = f"{thermal}/cooling_device{number + 5}"
        write(machine, **{f"{device}/type": kind + "\n", f"{device}/cur_state": "1\n"})
        (machine / zone / f"cdev{number}").symlink_to(machine / device)
        write(machine, **{f"{zone}/cdev{number}_trip_point": trip + "\n"})
    source = SysfsSource(machine)
    assert source.limits_c() == {"cpu (0)": 99.0}
    assert not [name for name in source.read().throttle if "alert" in name]
    assert [name for name in source.read().throttle if "cpu-throttle" in name]


def test_rapl_gives_power_from_two_looks(tmp_path: Path) -> None:
    zone = tmp_path / "sys/class/powercap/intel-rapl:0"
    zone.mkdir(parents=True)
    (zone / "name").write_text("package-0\n")
    (zone / "energy_uj").write_text("1000000\n")
    source = SysfsSource(tmp_path)
    source.start()
    began = time.perf_counter()
    source.read()
    (zone / "energy_uj").write_text("3000000\n")  # two joules
    time.sleep(0.05)
    (power,) = source.read().power_mw.values()
    assert 0 < power <= 2e3 / 0.05 and power >= 2e3 / (time.perf_counter() - began)


def test_nothing_to_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(TargetUnavailableError, match="not Linux"):
        SysfsSource(tmp_path).start()
    (tmp_path / "sys").mkdir()
    with pytest.raises(TargetUnavailableError, match="no thermal zone"):
        SysfsSource(tmp_path).start()
    with pytest.raises(TargetUnavailableError, match="no NVIDIA driver"):
        NvmlSource("libnvidia-ml-that-is-not-there.so").start()


def test_sources_are_tried_in_order_and_the_absent_named() -> None:
    class Works(SysfsSource):
        name = "works"

        def start(self) -> None:
            pass

        def read(self) -> Reading:
            return Reading(temperature_c={"tj": 40})

    class Never(Works):
        name = "never"

        def start(self) -> None:
            raise TargetUnavailableError("is not here")

    class Later(Works):
        name = "later"

    telemetry = find_sources((Never, Works, Later))
    assert [source.name for source in telemetry.sources] == ["works"]
    assert telemetry.absent == {"never": "is not here", "later": "not used: works is available"}
    assert telemetry.read().temperature_c == {"tj": 40}
    assert "power_mw" in telemetry.missing([telemetry.read()])


@pytest.mark.skipif(sys.platform == "win32", reason="a shell script stands in for the program")
def test_a_running_tegrastats_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = BOARDS[0]["line"]
    program = tmp_path / "tegrastats"
    program.write_text(f"#!/bin/sh\nwhile :; do echo '{line}'; sleep 0.05; done\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    source = TegrastatsSource(0.1)
    source.start()
    try:
        deadline = time.monotonic() + 20
        while not (reading := source.read()).power_mw and time.monotonic() < deadline:
            time.sleep(0.01)
    finally:
        source.stop()
    assert reading.power_mw["VDD_IN"] == 12479


@pytest.mark.skipif(sys.platform == "win32", reason="shell scripts stand in for the programs")
def test_the_power_mode_is_asked_for_and_root_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = {
        "nvpmodel": "echo 'NV Power Mode: 25W'; echo 1",
        "jetson_clocks": "echo 'Error: Run this script(jetson_clocks) as a root user'; exit 1",
    }
    for name, text in answers.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    modes = power_mode()
    assert modes["nvpmodel"] == {"power_mode": "25W", "power_mode_id": 1}
    assert modes["jetson_clocks"] == {"problem": "jetson_clocks must be run as root"}


def test_jtop_is_sorted_by_what_its_names_begin_with() -> None:
    # rbonghi/jetson_stats, issue 81, and the names of its 4th release
    reading = parse_jtop(
        {"nvp model": "MAXN", "jetson_clocks": "OFF", "CPU1": 5, "GPU": 0, "Temp AO": 44.5, "Temp cv0": -256,
         "Power VDD_IN": 4859, "Power TOT": 4899, "EMC": 1745160, "fan": None, "NVENC": "OFF"}
    )  # fmt: skip
    assert reading.power_mw == {"VDD_IN": 4859, "TOT": 4899} and reading.temperature_c == {"AO": 44.5}
    assert reading.load_percent == {"CPU1": 5, "GPU": 0} and reading.other["nvp model"] == "MAXN"
    if "jtop" not in sys.modules:
        with pytest.raises(TargetUnavailableError, match="not installed"):
            JtopSource().start()


def test_sampler_reads_beside_the_work_and_once_more_at_the_end() -> None:
    with Sampler(lambda: Reading(temperature_c={"tj": 1.0}), interval_s=60) as sampler:
        pass
    assert len(sampler.readings) == 2
    assert sampler.readings[0].time_s <= sampler.readings[1].time_s


def recording(tmp_path: Path, lines: list[str]) -> Path:
    file = tmp_path / "tegrastats.log"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def test_recordings_keep_their_time(tmp_path: Path) -> None:
    line = BOARDS[0]["line"].partition(" RAM")[2]
    stamped = recording(tmp_path, [f"11-15-2024 08:38:{s:02} RAM{line}" for s in (10, 12, 14)])
    assert [reading.time_s for reading in read_recording(stamped)] == [0, 2, 4]
    plain = recording(tmp_path, ["RAM" + line, "", "RAM" + line])
    assert [reading.time_s for reading in read_recording(plain, 0.5)] == [0, 0.5]


@pytest.mark.parametrize("content", ["", "nothing of the kind\n" * 3, "\0\xff"])
def test_other_files_are_no_recording(content: str, tmp_path: Path) -> None:
    file = tmp_path / "x.log"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(BadInputError, match="no tegrastats line"):
        read_recording(file)
    with pytest.raises(BadInputError, match="cannot be read"):
        read_recording(tmp_path / "missing.log")


def test_power_is_that_of_the_rail_for_all_of_it() -> None:
    busy = [Reading(power_mw={"VDD_IN": 12000.0, "VDD_SOC": 3000.0}), Reading(power_mw={"VDD_IN": 14000.0})]
    idle = [Reading(power_mw={"VDD_IN": 5000.0})]
    power = summary.power(busy, idle)
    assert power is not None
    assert power["total"] == {
        "mean_mw": 13000,
        "max_mw": 14000,
        "idle_mw": 5000,
        "net_mw": 8000,
        "of": "VDD_IN",
    }
    assert power["rails"]["VDD_SOC"]["idle_mw"] is None
    parts = summary.power([Reading(power_mw={"GPU": 10.0, "CPU": 5.0})], [Reading(power_mw={"GPU": 1.0})])
    assert parts is not None and parts["total"]["of"] == "sum of GPU, CPU"
    assert (parts["total"]["mean_mw"], parts["total"]["net_mw"]) == (15, 14)
    assert summary.power([Reading()], idle) is None


def test_a_rail_behind_another_is_not_counted_twice() -> None:
    rails = {"VDD_GPU_SOC": 4000.0, "VDD_CPU_CV": 2000.0, "VIN_SYS_5V0": 3000.0, "VDDQ_VDD2_1V8AO": 800.0}
    power = summary.power([Reading(power_mw=rails)], [])
    assert power is not None and power["total"]["mean_mw"] == 9000
    assert power["total"]["of"] == "sum of VDD_GPU_SOC, VDD_CPU_CV, VIN_SYS_5V0"
    assert power["rails"]["VDDQ_VDD2_1V8AO"]["mean_mw"] == 800
    alone = summary.power([Reading(power_mw={"VDDQ_VDD2_1V8AO": 800.0})], [])
    assert alone is not None and alone["total"]["mean_mw"] == 800


def test_a_falling_clock_is_throttling_only_while_its_unit_works() -> None:
    def run(load: float) -> list[Reading]:
        clocks = [1300.0] * 4 + [900.0] * 4
        return [Reading(clock_mhz={"GR3D": clock}, load_percent={"GR3D": load}) for clock in clocks]

    assert summary.held_back(run(99), {}) == ["clock GR3D fell from 1300 to 900 MHz"]
    assert summary.held_back(run(5), {}) == []
    unknown = [dataclasses.replace(reading, load_percent={}) for reading in run(99)]
    assert summary.held_back(unknown, {}) == [], "a unit without a known load may be idle"


def test_counters_count_from_the_start_of_the_run_and_flags_as_they_are() -> None:
    readings = [
        Reading(throttle={"oc1": 7.0, "power brake": 0.0}),
        Reading(throttle={"oc1": 9.0, "power brake": 1.0}),
    ]
    assert summary.held_back(readings, {}) == ["oc1 rose by 2", "power brake was active"]


@pytest.mark.parametrize("number", ["²", "٣", "9" * 5000, "1" + "0" * 400, "-" + "9" * 400])
def test_numbers_that_are_none_are_kept_as_text(number: str) -> None:
    line = (
        f"CPU [5%@729,{number}%@{number}] RAM {number}/{number}MB SWAP 1/2MB EMC_FREQ {number}%@{number} "
        f"GR3D_FREQ 3%@{number} MTS fg {number}% bg {number}% cpu@{number}C VDD_IN {number}mW/{number}mW "
        f"VDD {number}mW APE {number}"
    )
    reading = parse(line)
    json.dumps(dataclasses.asdict(reading), allow_nan=False)
    assert reading.load_percent["cpu0"] == 5.0
    fields = parse_nvpmodel(f"NV Power Mode: MAXN\n{number}\n")
    assert fields == {"power_mode": "MAXN"}
