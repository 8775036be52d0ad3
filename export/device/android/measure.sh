#!/bin/sh
# Measures the models of this folder on an Android device, and pulls the results into ./results.
#
#   BENCHMARK_MODEL=path/to/benchmark_model EXECUTOR_RUNNER=path/to/executor_runner ./measure.sh
#
# Needs adb, one connected device with USB debugging (ANDROID_SERIAL chooses among several), and for the
# device's processor LiteRT's benchmark_model, from LiteRT's releases or built with Bazel, and ExecuTorch's
# executor_runner, built with XNNPACK and with logging as ExecuTorch's documentation says; of these two only
# what the models need. Variables: ADB, THREADS (4), RUNS (50), REMOTE (/data/local/tmp/fdikp-edge).
# Exits with 1 if a model did not run.
set -eu

adb=${ADB:-adb}
threads=${THREADS:-4}
runs=${RUNS:-50}
remote=${REMOTE:-/data/local/tmp/fdikp-edge}
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
results=$here/results

fail() {
  echo "measure.sh: $1" >&2
  exit 2
}

# Prints where a program is on this machine: the variable of its name in capital letters, or the current folder.
place() {
  path=$(printenv "$(printf '%s' "$1" | tr '[:lower:]' '[:upper:]')") || path=
  echo "${path:-./$1}"
}

command -v "$adb" >/dev/null 2>&1 || fail "$adb was not found; install Android's platform tools"
for number in "$threads" "$runs"; do
  case $number in '' | 0* | *[!0-9]*) fail "THREADS and RUNS are whole numbers from 1, without a leading 0" ;; esac
done
(cd "$here" && sha256sum -c files.sha256 >/dev/null) || fail "a file of this bundle is damaged"
tools=$(cut -f 2 "$here/models.tsv" | sort -u)
for tool in $tools; do
  [ -f "$(place "$tool")" ] ||
    fail "$(place "$tool") is not a file; set $(printf '%s' "$tool" | tr '[:lower:]' '[:upper:]') to $tool for the device"
done
"$adb" get-state >/dev/null 2>&1 || fail "no device answers; see: $adb devices"

mkdir -p "$results"
"$adb" shell "rm -rf $remote && mkdir -p $remote"
for tool in $tools; do
  "$adb" push "$(place "$tool")" "$remote/$tool" >/dev/null
  "$adb" shell "chmod 755 $remote/$tool"
done
{
  for property in ro.product.manufacturer ro.product.model ro.soc.model ro.build.version.release ro.build.fingerprint; do
    printf '%s=%s\n' "$property" "$("$adb" shell "getprop $property" | tr -d '\r')"
  done
  printf 'threads=%s\nruns=%s\n' "$threads" "$runs"
} >"$results/device.txt"

# Name, program, output files, and the command for the device's shell in the model's folder.
status=0
while IFS='	' read -r name tool outputs command <&3; do
  echo "measuring $name"
  outputs=$(printf '%s' "$outputs" | tr ',' ' ')
  rm -f "$results/$name.log"
  for output in $outputs; do rm -f "$results/$name.$output"; done
  "$adb" shell "mkdir -p $remote/$name"
  "$adb" push "$here/models/$name/." "$remote/$name/" >/dev/null
  if "$adb" shell "cd $remote/$name || exit; TOOL=../$tool; THREADS=$threads; RUNS=$runs; $command" \
      >"$results/$name.log" 2>&1 </dev/null; then
    for output in $outputs; do
      "$adb" pull "$remote/$name/$output" "$results/$name.$output" >/dev/null ||
        echo "measure.sh: $name: $output did not come back; it will not be compared" >&2
    done
  else
    echo "measure.sh: $name did not run; see results/$name.log" >&2
    status=1
  fi
done 3<"$here/models.tsv"

"$adb" shell "rm -rf $remote"
if command -v python3 >/dev/null 2>&1; then
  python3 "$here/compare.py" "$here" || status=1
else
  echo "Run compare.py with Python and NumPy to write results/report.json." >&2
fi
exit $status
