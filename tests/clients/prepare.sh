#!/bin/sh
# Builds or installs one client and prints the command that runs it, one word a line.
# usage: prepare.sh go|python|rust|node     exit 3: its language or packages cannot be had here
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cache=${EVERFLAME_CACHE:-$HOME/.cache/everflame}
client=$1
mkdir -p "$cache/clients"

missing() {
  echo "$1" >&2
  exit 3
}

# An unpacked client is kept while what it is made from is the same.
current() { [ -f "$1/.made-from" ] && [ "$(cat "$1/.made-from")" = "$(cat "$2" | sha256sum)" ]; }

case $client in
go)
  command -v go >/dev/null || missing "go is not installed"
  cd "$here/go"
  go mod download >&2 || missing "the Go modules cannot be fetched"
  go build -o "$cache/clients/go" . >&2
  echo "$cache/clients/go"
  ;;
python)
  command -v python3 >/dev/null || missing "python3 is not installed"
  venv=$cache/clients/python
  if ! current "$venv" "$here/python/requirements.txt"; then
    rm -rf "$venv"
    python3 -m venv "$venv" >&2 || missing "python3 cannot make a virtual environment (Debian: python3-venv)"
    "$venv/bin/pip" install -q -r "$here/python/requirements.txt" >&2 || missing "pyroscope-io cannot be installed"
    cat "$here/python/requirements.txt" | sha256sum >"$venv/.made-from"
  fi
  printf '%s\n' "$venv/bin/python" "$here/python/client.py"
  ;;
rust)
  command -v cargo >/dev/null || missing "cargo is not installed"
  cd "$here/rust"
  cargo fetch --locked >&2 || missing "the crates cannot be fetched"
  cargo build --release --locked --target-dir "$cache/clients/rust" >&2
  echo "$cache/clients/rust/release/everflame-client-rust"
  ;;
node)
  command -v npm >/dev/null || missing "node and npm are not installed"
  modules=$cache/clients/node
  if ! current "$modules" "$here/node/package-lock.json"; then
    rm -rf "$modules"
    mkdir -p "$modules"
    cp "$here/node/package.json" "$here/node/package-lock.json" "$modules"
    (cd "$modules" && npm ci --ignore-scripts --no-audit --no-fund >&2) || missing "@pyroscope/nodejs cannot be installed"
    cat "$here/node/package-lock.json" | sha256sum >"$modules/.made-from"
  fi
  cp "$here/node/client.mjs" "$modules"
  printf '%s\n' node "$modules/client.mjs"
  ;;
*)
  echo "prepare.sh: no client is called $client" >&2
  exit 2
  ;;
esac
