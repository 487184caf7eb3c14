#!/bin/bash
# Builds ui/dist when it is missing or older than its sources. Without node the server has no pages.
set -euo pipefail
cd "$(dirname "$0")/../ui" 2>/dev/null || exit 0
[ -f package.json ] || exit 0
if ! command -v npm >/dev/null; then
  echo "npm is not installed: the server is built without its web pages" >&2
  exit 0
fi
lock=$(sha256sum <package-lock.json)
if [ "$(cat node_modules/.made-from 2>/dev/null)" != "$lock" ]; then
  echo "installing the packages of the web pages"
  npm ci --no-audit --no-fund
  echo "$lock" >node_modules/.made-from
fi
if [ ! -f dist/index.html ] ||
  [ -n "$(find . -path ./node_modules -prune -o -path ./dist -prune -o -path ./e2e -prune -o \
    -type f -newer dist/index.html -print -quit)" ]; then
  echo "building the web pages"
  npm run build
  touch dist/index.html
fi
