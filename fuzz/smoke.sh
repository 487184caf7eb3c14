#!/bin/bash
# Fuzzes each reader for FUZZ_SECONDS (20), FUZZ_JOBS (2) at a time, from the seeds of examples/seeds, and says
# how many it found nothing in. Arguments are the names of the targets to run, all when there are none.
#
# A panic, a wrong total, an input that takes 10 seconds, or one with which the process uses more than 256 MB is
# a failure; the input is left in fuzz/artifacts. Stable Rust and a C++ compiler are enough: what the fuzzer
# needs of the compiler are options of LLVM.
set -uo pipefail
cd "$(dirname "$0")"
: "${EVERFLAME_CACHE:=$HOME/.cache/everflame}" "${FUZZ_SECONDS:=20}" "${FUZZ_JOBS:=2}"
export CARGO_TARGET_DIR=${FUZZ_TARGET_DIR:-$EVERFLAME_CACHE/fuzz-target} FUZZ_SECONDS

if ! command -v c++ >/dev/null && [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
  apt-get update -q && apt-get install -qy --no-install-recommends g++
fi
host=$(rustc -vV | sed -n 's/^host: //p')
coverage="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4"
coverage+=" -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table"
coverage+=" -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing"
# Build scripts and macros run without a fuzzer: with --target the flags are not theirs.
../scripts/claim-cache.sh
RUSTFLAGS=$coverage cargo build --release --locked --target "$host" --bins --example seeds || exit 1
export built=$CARGO_TARGET_DIR/$host/release

[ $# -gt 0 ] || set -- $(sed -n 's|^path = "fuzz_targets/\(.*\)\.rs"$|\1|p' Cargo.toml)
export work
work=$(mktemp -d "${TMPDIR:-/tmp}/everflame-fuzz.XXXXXX")
trap 'rm -rf "$work"' EXIT
"$built/examples/seeds" "$work/corpus" || exit 1

fuzz() {
  local log=$work/$1.log
  mkdir -p "artifacts/$1" "$work/corpus/$1"
  if "$built/$1" -max_total_time="$FUZZ_SECONDS" -timeout=10 -rss_limit_mb=256 -print_final_stats=1 \
    -artifact_prefix="artifacts/$1/" "$work/corpus/$1" >"$log" 2>&1; then
    echo "ok $1: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") inputs"
  else
    echo "not ok $1"
    tail -n 40 "$log" | sed 's/^/    /'
  fi
}
export -f fuzz
printf '%s\n' "$@" | xargs -P "$FUZZ_JOBS" -I{} bash -c 'fuzz {}' | tee "$work/results"
rmdir artifacts/* artifacts 2>/dev/null
passed=$(grep -c '^ok ' "$work/results")
echo "# pass $passed"
echo "# fail $(($# - passed))"
[ "$passed" -eq $# ]
