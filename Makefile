# Everflame's one way in: `make run`, `make test`, `make bench`. `make help` lists the rest.
#
# What is built is kept in EVERFLAME_CACHE, so that a fresh clone on the same machine is warm.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

export EVERFLAME_CACHE ?= $(HOME)/.cache/everflame
OWN_TARGET := $(CARGO_TARGET_DIR)
export CARGO_TARGET_DIR ?= $(EVERFLAME_CACHE)/target
BIN := $(CARGO_TARGET_DIR)/release/everflame
DATA := $(or $(EVERFLAME_DATA),./data)

.PHONY: help run build ui demo screenshots test bench fmt clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile | expand -t 16

run: build ## build everything and start the server with its store in ./data (or EVERFLAME_DATA)
	@exec $(BIN) serve --data $(DATA)

build: ui ## build the web pages and the binary target/release/everflame
	@scripts/claim-cache.sh
	@echo "building everflame; the first time compiles several hundred dependencies"
	@cargo build --release --locked -p everflame
	@if [ -z "$(OWN_TARGET)" ]; then \
	  mkdir -p target/release; \
	  ln -f $(BIN) target/release/everflame 2>/dev/null || cp -f $(BIN) target/release/everflame; \
	fi

ui: ## build the web pages into ui/dist, when their sources are newer
	@scripts/build-ui.sh

test: ## run every check and test; the last line holds the totals
	@scripts/test.sh

demo: ## send a made-up shop to the server that runs on port 4040 (or EVERFLAME_URL)
	@node ui/dev/demo-data.mjs $(or $(EVERFLAME_URL),http://127.0.0.1:4040)

screenshots: build ## take pictures of every page into ui/screenshots and docs/images
	@EVERFLAME_BIN=$(BIN) node ui/dev/screenshots.mjs

bench: build ## run the benchmarks of the server and of the pages, and print their tables
	@cargo run --release --locked -p everflame-bench -- --server-binary $(BIN)
	@cargo run --release --locked -p everflame-bench -- decode
	@if command -v chromium >/dev/null; then EVERFLAME_BIN=$(BIN) node ui/dev/bench.mjs; \
	else echo "chromium is not installed: the pages are not measured"; fi

fmt: ## format the Rust sources
	@cargo fmt --all

clean: ## remove what was built for this clone; the shared cache stays
	@rm -rf target ui/dist ui/node_modules
