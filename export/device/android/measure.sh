#!/bin/sh
# Measures the models of this folder on an Android device, and pulls the results into ./results.
#
#   BENCHMARK_MODEL=path/to/benchmark_model ./measure.sh
#
# Needs adb, one connected device with USB debugging (ANDROID_SERIAL chooses among several), and LiteRT's
# benchmark_model for the device's processor, from LiteRT's releases or built with Bazel. Variables: ADB,
# THREADS (4), RUNS (50), REMOTE (/data/local/tmp/fdikp-edge). Exits with 1 if a model did not run.
set -eu

adb=${ADB:-adb}
tool=${BENCHMARK_MODEL:-./benchmark_model}
threads=${THREADS:-4}
runs=${RUNS:-50}
remote=${REMOTE:-/data/local/tmp/fdikp-edge}
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
results=$here/results

fail() {
  echo "measure.sh: $1" >&2
  exit 2
}

command -v "$adb" >/dev/null 2>&1 || fail "$adb was not found; install Android's platform tools"
[ -f "$tool" ] || fail "$tool is not a file; set BENCHMARK_MODEL to LiteRT's benchmark_model for the device"
case $threads$runs in *[!0-9]*) fail "THREADS and RUNS are whole numbers" ;; esac
(cd "$here" && sha256sum -c files.sha256 >/dev/null) || fail "a file of this bundle is damaged"
"$adb" get-state >/dev/null 2>&1 || fail "no device answers; see: $adb devices"

mkdir -p "$results"
"$adb" shell "rm -rf $remote && mkdir -p $remote"
"$adb" push "$tool" "$remote/benchmark_model" >/dev/null
"$adb" shell "chmod 755 $remote/benchmark_model"
{
  for property in ro.product.manufacturer ro.product.model ro.soc.model ro.build.version.release ro.build.fingerprint; do
    printf '%s=%s\n' "$property" "$("$adb" shell "getprop $property" | tr -d '\r')"
  done
  printf 'threads=%s\nruns=%s\n' "$threads" "$runs"
} >"$results/device.txt"

# Name, model file, flags of the delegate, inputs as benchmark_model takes them: name, shape, file.
status=0
while IFS='	' read -r name model delegate layers shapes files <&3; do
  echo "measuring $name"
  "$adb" shell "mkdir -p $remote/$name"
  "$adb" push "$here/models/$name/." "$remote/$name/" >/dev/null
  values=$(printf '%s' "$files" | sed "s#@#$remote/$name#g")
  if "$adb" shell "cd $remote && ./benchmark_model --graph=$name/$model --num_threads=$threads \
      --num_runs=$runs --warmup_runs=5 $delegate --input_layer=$layers --input_layer_shape=$shapes \
      --input_layer_value_files=$values --output_filepath=$name/output.bin \
      --report_peak_memory_footprint=true" >"$results/$name.log" 2>&1 </dev/null; then
    "$adb" pull "$remote/$name/output.bin" "$results/$name.output.bin" >/dev/null ||
      echo "measure.sh: $name: no output came back; it will not be compared" >&2
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
