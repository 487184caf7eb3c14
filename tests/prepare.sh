#!/bin/sh
# Builds or installs one program that the tests run, and prints the command for it, one word a line.
# usage: prepare.sh go|python|rust|node|java|rbspy|pyroscope-api|otlp-go|grpc-python|lake-readers|s3-server|schemathesis
# exit 3: its language or packages cannot be had here
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cache=${EVERFLAME_CACHE:-$HOME/.cache/everflame}
program=$1
mkdir -p "$cache/clients"

# Several tests may want the same program at once.
exec 9>"$cache/clients/.$program.lock"
flock 9

missing() {
  echo "$1" >&2
  exit 3
}

# What was installed is kept while what it is made from is the same.
current() { [ -f "$1/.made-from" ] && [ "$(cat "$1/.made-from")" = "$(sha256sum <"$2")" ]; }

# python_environment FOLDER REQUIREMENTS
python_environment() {
  command -v python3 >/dev/null || missing "python3 is not installed"
  if ! current "$1" "$2"; then
    rm -rf "$1"
    python3 -m venv "$1" >&2 || missing "python3 cannot make a virtual environment (Debian: python3-venv)"
    "$1/bin/pip" install -q -r "$2" >&2 || missing "$(grep -v '^#' "$2" | tr '\n' ' ')cannot be installed"
    sha256sum <"$2" >"$1/.made-from"
  fi
}

case $program in
go | otlp-go | pyroscope-api)
  command -v go >/dev/null || missing "go is not installed"
  cd "$here/clients/$program"
  # An older Go must not fetch a newer one.
  export GOTOOLCHAIN=local
  go mod download >&2 || missing "the Go modules cannot be fetched"
  go build -o "$cache/clients/$program" . >&2
  echo "$cache/clients/$program"
  ;;
java)
  for tool in java javac mvn; do
    command -v "$tool" >/dev/null || missing "$tool is not installed (Debian: default-jdk-headless, maven)"
  done
  folder=$cache/clients/java
  if ! current "$folder" "$here/clients/java/pom.xml"; then
    rm -rf "$folder"
    mkdir -p "$folder"
    cp "$here/clients/java/pom.xml" "$folder"
    mvn -B -q -f "$folder/pom.xml" dependency:copy-dependencies -DoutputDirectory="$folder/lib" >&2 ||
      missing "the Java packages cannot be fetched"
    sha256sum <"$here/clients/java/pom.xml" >"$folder/.made-from"
  fi
  javac -d "$folder/classes" -cp "$folder/lib/*" "$here"/clients/java/*.java >&2
  printf '%s\n' java -cp "$folder/classes:$folder/lib/*"
  ;;
grpc-python)
  folder=$cache/clients/grpc-python
  python_environment "$folder" "$here/clients/grpc-python/requirements.txt"
  # The packages of the protocol in older layouts, each in a folder of its own.
  for layout in "$here"/clients/grpc-python/layout-*.txt; do
    packages=$folder/$(basename "$layout" .txt)
    if ! current "$packages" "$layout"; then
      rm -rf "$packages"
      "$folder/bin/pip" install -q --no-deps --target "$packages" -r "$layout" >&2 ||
        missing "$(grep -v '^#' "$layout" | tr '\n' ' ')cannot be installed"
      sha256sum <"$layout" >"$packages/.made-from"
    fi
  done
  echo "$folder/bin/python"
  ;;
python)
  python_environment "$cache/clients/python" "$here/clients/python/requirements.txt"
  printf '%s\n' "$cache/clients/python/bin/python" "$here/clients/python/client.py"
  ;;
lake-readers)
  python_environment "$cache/lake-readers" "$here/lake_readers.requirements.txt"
  printf '%s\n' "$cache/lake-readers/bin/python" "$here/lake_readers.py"
  ;;
s3-server)
  python_environment "$cache/s3-server" "$here/s3_server.requirements.txt"
  echo "$cache/s3-server/bin/moto_server"
  ;;
schemathesis)
  python_environment "$cache/schemathesis" "$here/schemathesis.requirements.txt"
  echo "$cache/schemathesis/bin/schemathesis"
  ;;
rust)
  command -v cargo >/dev/null || missing "cargo is not installed"
  cd "$here/clients/rust"
  cargo fetch --locked >&2 || missing "the crates cannot be fetched"
  cargo build --release --locked --target-dir "$cache/clients/rust" >&2
  echo "$cache/clients/rust/release/everflame-client-rust"
  ;;
rbspy)
  command -v ruby >/dev/null || missing "ruby is not installed (Debian: ruby)"
  command -v cargo >/dev/null || missing "cargo is not installed"
  version=0.55.0
  folder=$cache/clients/rbspy
  if [ "$("$folder/bin/rbspy" --version 2>/dev/null)" != "rbspy $version" ]; then
    # It reads a hundred stacks a second: compiling it without optimisation is quicker.
    env -u CARGO_TARGET_DIR -u RUSTFLAGS CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=off \
      CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_DEBUG=0 \
      cargo install --quiet --locked --force --root "$folder" --version "$version" rbspy >&2 ||
      missing "rbspy cannot be installed"
  fi
  echo "$folder/bin/rbspy"
  ;;
node)
  command -v npm >/dev/null || missing "node and npm are not installed"
  modules=$cache/clients/node
  if ! current "$modules" "$here/clients/node/package-lock.json"; then
    rm -rf "$modules"
    mkdir -p "$modules"
    cp "$here/clients/node/package.json" "$here/clients/node/package-lock.json" "$modules"
    (cd "$modules" && npm ci --ignore-scripts --no-audit --no-fund >&2) || missing "@pyroscope/nodejs cannot be installed"
    sha256sum <"$here/clients/node/package-lock.json" >"$modules/.made-from"
  fi
  cp "$here/clients/node/client.mjs" "$modules"
  printf '%s\n' node "$modules/client.mjs"
  ;;
*)
  echo "prepare.sh: no program is called $program" >&2
  exit 2
  ;;
esac
