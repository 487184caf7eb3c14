#!/bin/bash
# Runs every check and test, also after one has failed, and closes with one line of totals.
#
# Tests are counted from what their runners report. A check that has no tests (format, lints, licences,
# builds) counts as one. What could not run here counts as skipped and is listed by name.
set -uo pipefail
cd "$(dirname "$0")/.."
: "${EVERFLAME_CACHE:=$HOME/.cache/everflame}"
: "${CARGO_TARGET_DIR:=$EVERFLAME_CACHE/target}"
export EVERFLAME_CACHE CARGO_TARGET_DIR CARGO_TERM_COLOR=never NO_COLOR=1 RUST_LIB_BACKTRACE=0
export EVERFLAME_BIN=${EVERFLAME_BIN:-$CARGO_TARGET_DIR/release/everflame}
logs=$(mktemp -d "${TMPDIR:-/tmp}/everflame-make-test.XXXXXX")
trap 'rm -rf "$logs"' EXIT
export EVERFLAME_SKIPPED=$logs/skipped
: >"$EVERFLAME_SKIPPED"
passed=0 failed=0 skipped=0 failures=()

# step NAME COUNTER COMMAND…: runs the command, shows its output, and counts with COUNTER, which prints
# "passed failed skipped" for the log in $1.
step() {
  local name=$1 counter=$2 log=$logs/step start=$SECONDS status p f s
  shift 2
  echo "=== $name"
  "$@" </dev/null 2>&1 | tee "$log"
  status=${PIPESTATUS[0]}
  read -r p f s < <("$counter" "$log" "$status")
  # A runner that died without naming a failed test has failed all the same.
  if [ "$status" -ne 0 ] && [ "$f" -eq 0 ]; then f=1; fi
  passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
  if [ "$f" -ne 0 ]; then failures+=("$name"); fi
  echo "--- $name: $p passed, $f failed, $s skipped in $((SECONDS - start)) s"
}

skip() {
  echo "=== $1: skipped, $2"
  echo "$1: $2" >>"$EVERFLAME_SKIPPED"
  skipped=$((skipped + 1))
}

count_one() { if [ "$2" -eq 0 ]; then echo 1 0 0; else echo 0 1 0; fi; }

# A test that skips itself has passed for cargo; it left a line in EVERFLAME_SKIPPED.
count_cargo() {
  local own
  own=$(wc -l <"$EVERFLAME_SKIPPED")
  own=$((own - skipped_before))
  awk -v own="$own" '/^test result:/ { for (i = 1; i < NF; i++) {
      if ($(i+1) ~ /^passed/) p += $i; if ($(i+1) ~ /^failed/) f += $i; if ($(i+1) ~ /^ignored/) s += $i } }
    END { print p - own, f + 0, s + own }' "$1"
}

count_vitest() { # "Tests  1 failed | 11 passed | 2 skipped (14)"
  awk '/^ *Tests  / { for (i = 1; i < NF; i++) {
      if ($(i+1) == "passed") p += $i; if ($(i+1) == "failed") f += $i; if ($(i+1) ~ /^(skipped|todo)$/) s += $i } }
    END { print p + 0, f + 0, s + 0 }' "$1"
}

count_node() { # "# pass 3" (TAP) or "ℹ pass 3" (spec)
  awk '$1 == "#" || $1 == "ℹ" { if ($2 == "pass") p += $3; if ($2 ~ /^(fail|cancelled)$/) f += $3
      if ($2 ~ /^(skipped|todo)$/) s += $3 }
    END { print p + 0, f + 0, s + 0 }' "$1"
}

cargo_step() {
  local name=$1
  shift
  skipped_before=$(wc -l <"$EVERFLAME_SKIPPED")
  step "$name" count_cargo cargo "$@"
}

# Debian's packages for what is missing, where that is allowed.
apt_install() {
  command -v apt-get >/dev/null && [ "$(id -u)" -eq 0 ] || return 1
  apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "$@"
}

cargo_deny() {
  PATH=$EVERFLAME_CACHE/tools/bin:$PATH
  if ! command -v cargo-deny >/dev/null; then
    echo "installing cargo-deny into $EVERFLAME_CACHE/tools"
    # It reads a few files: compiling it without optimisation takes a third of the time.
    env -u CARGO_TARGET_DIR CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=off \
      CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_DEBUG=0 \
      cargo install --locked --root "$EVERFLAME_CACHE/tools" cargo-deny || return 1
  fi
  cargo deny --locked check --hide-inclusion-graph bans licenses sources
}

if command -v python3 >/dev/null && ! python3 -c "import ensurepip" 2>/dev/null; then
  apt_install python3-venv || true
fi

# Java's agent and recorders are tested where there is a JDK.
if ! command -v javac >/dev/null || ! command -v mvn >/dev/null; then
  apt_install default-jdk-headless maven || true
fi

# What rbspy records is tested where there is Ruby.
if ! command -v ruby >/dev/null; then apt_install ruby || true; fi

scripts/claim-cache.sh
step "web pages: build" count_one scripts/build-ui.sh
step "format" count_one cargo fmt --all --check
step "binary" count_one cargo build --release --locked -p everflame
step "clippy" count_one cargo clippy --release --locked --workspace --all-targets -- -D warnings
# One command for all: each choice of packages would compile the dependencies with other features.
cargo_step "unit, property, doc and black-box tests, real clients" \
  test --release --locked --no-fail-fast --workspace

if [ -f ui/package.json ]; then
  if command -v npm >/dev/null; then
    step "web pages: types" count_one npm --prefix ui run check
    step "web pages: unit tests" count_vitest npm --prefix ui test -- --dir src
    if ls ui/e2e/*.test.mjs >/dev/null 2>&1; then
      if ! command -v chromium >/dev/null; then apt_install chromium || true; fi
      if command -v chromium >/dev/null; then
        step "web pages: browser tests" count_node npm --prefix ui run e2e
      else
        skip "web pages: browser tests" "chromium is not installed, and apt-get cannot install it here"
      fi
    fi
  else
    skip "web pages: unit and browser tests" "npm is not installed"
  fi
fi
if [ -x fuzz/smoke.sh ]; then step "fuzzing of each reader" count_node fuzz/smoke.sh; fi
step "bans, licences, sources" count_one cargo_deny

echo
if [ -s "$EVERFLAME_SKIPPED" ]; then sed 's/^/skipped: /' "$EVERFLAME_SKIPPED"; fi
for name in ${failures[@]+"${failures[@]}"}; do echo "failed: $name"; done
totals="$passed passed, $failed failed"
if [ "$skipped" -ne 0 ]; then totals="$totals, $skipped skipped"; fi
echo "$totals"
[ "$failed" -eq 0 ]
