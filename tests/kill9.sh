#!/bin/bash
# Kills the server with SIGKILL under load, many times, and checks after each that everything it
# acknowledged is there exactly once. Usage: tests/kill9.sh [ROUNDS], default 100.
set -euo pipefail
cd "$(dirname "$0")/.."
export EVERFLAME_KILL_ROUNDS=${1:-100}
if [ -z "${EVERFLAME_BIN:-}" ]; then cargo build --release --locked -p everflame; fi
exec cargo test --release --locked -p everflame-tests --test kill9 -- --nocapture
