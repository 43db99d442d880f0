SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
# Cargo and the tests use every core by themselves.
.NOTPARALLEL:

# RocksDB is 370 C++ files: with the compiler cache they are compiled once per machine, not once per clone. Looked up
# when a command starts, because `install` may have brought the cache only just now. A CC of the caller's is respected.
CCACHE = $(if $(shell command -v ccache),ccache )
# It takes the language of the compiler's messages for part of the input, which a shell, or Python in between, sets at will.
export CCACHE_SLOPPINESS = locale
ifeq ($(origin CC),default)
export CC = $(CCACHE)cc
endif
# clang compiles RocksDB in three quarters of gcc's time; `install` brings it.
ifeq ($(origin CXX),default)
export CXX = $(CCACHE)$(if $(shell command -v clang++),clang++,c++)
endif

TARGET := $(abspath $(or $(CARGO_TARGET_DIR),target))
ACCEPTANCE := server/tests/acceptance
VENV := $(TARGET)/acceptance-venv
TOOLS := $(TARGET)/tools
CARGO_DENY := $(TOOLS)/bin/cargo-deny

# Seconds per fuzz target, seconds of soak per fuzz target, and how often the soak kills the server.
FUZZ_SECONDS ?= 60
SOAK_SECONDS ?= 900
SOAK_KILLS ?= 200
# Seconds in which the simulation ends the process at every write of one seed after the other.
SOAK_SIMULATION_SECONDS ?= 3600
# Generated cases per property while soaking.
SOAK_CASES ?= 20000
# Generated histories of the ledger against the model while soaking.
SOAK_HISTORIES ?= 1000000
# Options of `make demo`, such as SANDBOX="--rate 200 --speed 1440".
SANDBOX ?=
# Processes that run acceptance tests: most of their time they wait. With more than 3 on two cores, the servers would be
# late with answers.
ACCEPTANCE_WORKERS ?= 3
# The configuration that `make run` serves.
CONFIG ?= tapgate.toml

# Cargo, with a line that shows how far RocksDB is while it compiles.
CARGO_SHOWN = python3 scripts/build_progress.py '$(TARGET)' cargo

.PHONY: help
help: ## show this list
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: install
install: ## install what the build needs: apt packages, only where missing
	@scripts/install-build.sh

.PHONY: build
build: install ## build the release binary
	$(CARGO_SHOWN) build --release --package tapgate
	@echo "built $(TARGET)/release/tapgate"

.PHONY: run
run: install ## serve CONFIG (default tapgate.toml) with a release build
	@if [ ! -f '$(CONFIG)' ]; then \
	  echo "$(CONFIG) is not there; begin with:  cargo run --package tapgate -- config default > $(CONFIG)" >&2; exit 2; fi
	$(CARGO_SHOWN) build --release --package tapgate
	'$(TARGET)/release/tapgate' serve --config '$(CONFIG)'

.PHONY: demo
demo: install ## build, and start the sandbox: engine, simulated UR and card traffic (Ctrl-C ends it)
	$(CARGO_SHOWN) build --release --package tapgate
	'$(TARGET)/release/tapgate' sandbox $(SANDBOX)

.PHONY: test
test: install ## install what the tests need and run all of them
	@for part in test-rust test-engine loom shuttle test-acceptance; do \
	  started=$$SECONDS; $(MAKE) --no-print-directory $$part; echo "$$part: $$((SECONDS - started)) s"; \
	done

# One build serves the tests in Rust and the acceptance tests: the program in it has the features of the tests. `lint`
# checks it without them.
TESTED = --workspace --features tapgate-bench/load

.PHONY: test-build
test-build:
	$(CARGO_SHOWN) test $(TESTED) --no-run

# Includes the replay of the fuzz corpora: engine/tests/corpora.rs and server/tests/corpora.rs.
.PHONY: test-rust
test-rust: test-build
	@if command -v cargo-nextest >/dev/null; then \
	  result=0; cargo nextest run $(TESTED) --no-fail-fast || result=$$?; \
	  scripts/slowest_tests.py '$(TARGET)/nextest/default/junit.xml'; [ $$result = 0 ] || exit $$result; \
	  set -x; cargo test $(TESTED) --doc --quiet; \
	else \
	  set -x; cargo test $(TESTED) --no-fail-fast; \
	fi

# The core stands without the storage engine. What takes long and does not touch it has run in test-rust.
.PHONY: test-engine
test-engine:
	cargo test --package tapgate-engine --no-default-features --no-fail-fast --quiet -- \
	  --skip settlement::any_order --skip settlement::rows_of_a_tap --skip model::the_ledger

# Every order of the steps of a few threads, over the journal's and the pools' own code. The cfg would build everything else
# anew, so it has a directory of its own, and takes the core without the storage engine.
.PHONY: loom
loom: install ## every order of threads' steps in the journal and the pools, by loom
	CARGO_TARGET_DIR='$(TARGET)/loom' RUSTFLAGS='--cfg tapgate_loom' \
	  cargo test --package tapgate-engine --no-default-features --lib --release --quiet -- models::

# Many orders of the steps of all threads that the ledger has, in a directory of its own for the same reason.
.PHONY: shuttle
shuttle: install ## many orders of threads' steps in the whole ledger, by shuttle (TAPGATE_ORDERS)
	CARGO_TARGET_DIR='$(TARGET)/shuttle' RUSTFLAGS='--cfg tapgate_shuttle' \
	  cargo test --package tapgate-engine --no-default-features --test all --quiet -- in_many_orders

.PHONY: test-acceptance
test-acceptance: test-build $(VENV)/.installed
	TAPGATE_BIN='$(TARGET)/debug/tapgate' '$(VENV)/bin/python' -m pytest -q --durations=20 \
	  --numprocesses $(ACCEPTANCE_WORKERS) --dist worksteal $(ACCEPTANCE) bench/tests

$(VENV)/.installed: $(ACCEPTANCE)/requirements.txt
	@echo "install: Python packages of the acceptance tests"
	@python3 -m venv --clear '$(VENV)'
	@'$(VENV)/bin/pip' install --quiet --disable-pip-version-check --require-hashes --requirement $<
	@touch $@

# What decides, changed in small ways: each must fail a test. CI plays what the last commit changed.
MUTANTS = TOOLS='$(TOOLS)' PATH="$(TOOLS)/bin:$$PATH" MUTANTS_TARGET='$(TARGET)/mutants' scripts/mutants.py
MUTANTS_SINCE ?= HEAD~1

.PHONY: mutants
mutants: install ## change what decides, prices and settles in small ways, and expect a test to fail each time (an hour)
	@scripts/install-cargo-tool.sh cargo-mutants '$(TOOLS)'
	$(MUTANTS)

.PHONY: mutants-diff
mutants-diff: install ## the same for what has changed since MUTANTS_SINCE (default the last commit)
	$(MUTANTS) --diff '$(MUTANTS_SINCE)'

.PHONY: lint
lint: install ## formatting, clippy, licences and sources of dependencies, the files under deploy/
	@cargo metadata --locked --format-version 1 >/dev/null || { echo "Cargo.lock does not fit the manifests" >&2; exit 1; }
	@! git grep -nE '^(<<<<<<<|>>>>>>>) ' || { echo "a merge was left unfinished" >&2; exit 1; }
	cargo fmt --all --check
	rustfmt --check --edition 2024 fuzz/fuzz_targets/*.rs fuzz/src/*.rs
	$(CARGO_SHOWN) clippy --workspace --all-targets --all-features -- -D warnings
	cargo clippy --package tapgate-engine --all-targets --no-default-features -- -D warnings
	cargo clippy --package tapgate-engine --no-default-features -- -D warnings
	@scripts/install-cargo-tool.sh cargo-deny '$(TOOLS)'
# The advisory database is fetched from a host that CI does not reach: `make audit` has it.
	'$(CARGO_DENY)' --log-level error --locked check bans licenses sources
	scripts/check-deploy.sh

.PHONY: audit
audit: install ## known vulnerabilities of dependencies (fetches the advisory database)
	@scripts/install-cargo-tool.sh cargo-deny '$(TOOLS)'
	'$(CARGO_DENY)' --locked check advisories

# libFuzzer's coverage flags are only for nightly; the variable lets the pinned stable compiler accept them. No
# sanitizer: our code has no unsafe block for one to watch, and without it a run tries several times as many inputs.
# New inputs go to fuzz/corpus-found, so that only chosen ones enter the corpus.
.PHONY: fuzz
fuzz: install ## fuzz every target for FUZZ_SECONDS (default 60)
	@scripts/install-cargo-tool.sh cargo-fuzz '$(TOOLS)'
	@export RUSTC_BOOTSTRAP=1 PATH="$(TOOLS)/bin:$$PATH"; \
	for target in $$(cargo fuzz list); do \
	  echo "fuzz: $$target for $(FUZZ_SECONDS) s"; \
	  mkdir -p fuzz/corpus-found/$$target; \
	  cargo fuzz run --sanitizer none $$target fuzz/corpus-found/$$target fuzz/corpus/$$target -- \
	    -max_total_time=$(FUZZ_SECONDS) -print_final_stats=1 -timeout=10 -rss_limit_mb=4096; \
	done

# The runner must be of the library's version. It is compiled once per machine, and without optimisation: it only starts
# valgrind and reads what valgrind wrote.
GUNGRAUN_VERSION = $(shell sed -n '/^name = "gungraun"$$/{n;s/version = "\(.*\)"/\1/p}' Cargo.lock)
GUNGRAUN = $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/tapgate/gungraun-$(GUNGRAUN_VERSION)

.PHONY: instructions
instructions: counters ## instruction counts of the hot path against the pinned ones (bench/instructions.csv)
	PATH='$(GUNGRAUN)/bin':"$$PATH" bench/instructions.py '$(TARGET)'

.PHONY: instructions-pin
instructions-pin: counters ## pin the present instruction counts; REASON says why they changed
	PATH='$(GUNGRAUN)/bin':"$$PATH" bench/instructions.py '$(TARGET)' --pin "$(REASON)"

.PHONY: counters
counters: install
	@command -v valgrind >/dev/null || scripts/install-package.sh valgrind
	@[ -x '$(GUNGRAUN)/bin/gungraun-runner' ] || \
	  cargo install --quiet --locked --debug --root '$(GUNGRAUN)' --version '$(GUNGRAUN_VERSION)' gungraun-runner

# What .ci/run needs of them, in one build.
.PHONY: bench-build
bench-build: install
	$(CARGO_SHOWN) bench --package tapgate-bench --bench instructions --bench decision --bench edge --no-run

# What a bench touched once stays its own, as in a server that has left the first turn of rows behind.
KEEP_MEMORY = MIMALLOC_PURGE_DELAY=-1

.PHONY: bench-short
bench-short: install ## criterion's decision and edge benches in a short form: a summary, not a measurement
	@$(KEEP_MEMORY) cargo bench --package tapgate-bench --bench decision --bench edge -- --quick 'decision/(floor$$|floor_slabs|[pa])|edge' 2>/dev/null

.PHONY: bench
bench: install ## criterion's benches, each beside its floor, and their targets (BENCH names one; BENCH_ARGS="--quick" for a first look)
	$(KEEP_MEMORY) cargo bench --package tapgate-bench $(if $(BENCH),--bench $(BENCH),--bench decision --bench durable --bench edge --bench recovery --bench tree) -- $(BENCH_ARGS)
	$(if $(BENCH),,cargo build --release --package tapgate-bench --features load)
	$(if $(BENCH),,$(MEASURED) python3 bench/targets.py)

# What the programs of the comparison run.
MEASURED = TAPGATE_BIN='$(TARGET)/release/tapgate' TAPGATE_LOAD_BIN='$(TARGET)/release/tapgate-load' \
  TRACED_BIN='$(TARGET)/traced' CRITERION_DIR='$(TARGET)/criterion'

# The peers are Debian's packages; their services are not used: each comparison starts instances of its own.
.PHONY: compare
compare: install traced ## PostgreSQL, Redis, a bare server and tapgate doing the same authorization, with every target
	@scripts/install-peers.sh
	cargo build --release --package tapgate --package tapgate-bench --features tapgate-bench/load
	$(KEEP_MEMORY) cargo bench --package tapgate-bench --bench decision --bench recovery
	$(MEASURED) python3 bench/compare.py

.PHONY: overload
overload: install ## three times what the server can do: what is still answered in time (OVERLOAD_SECONDS)
	cargo build --release --package tapgate --package tapgate-bench --features tapgate-bench/load
	$(MEASURED) python3 bench/overload.py

.PHONY: readers
readers: install ## taps while people read as hard as they can, beside a bare server (READERS_PAIRS, READERS_SECONDS)
	@command -v wrk >/dev/null || scripts/install-package.sh wrk
	cargo build --release --package tapgate --package tapgate-bench --features tapgate-bench/load
	$(MEASURED) python3 bench/readers.py

# Servers that tell where each request's time went. They are moved away: nothing else may be measured with them, or serve.
.PHONY: traced
traced: install
	cargo build --release --package tapgate --package tapgate-bench --features tapgate-bench/trace
	@mkdir -p '$(TARGET)/traced'
	mv '$(TARGET)/release/tapgate' '$(TARGET)/release/tapgate-load' '$(TARGET)/traced/'

.PHONY: trace
trace: traced ## where a request's time goes, of tapgate and of a bare server, stage by stage (TRACE_SECONDS, TRACE_RATE, TRACE_USERS)
	TAPGATE_BIN='$(TARGET)/traced/tapgate' TAPGATE_LOAD_BIN='$(TARGET)/traced/tapgate-load' \
	  TRACED_BIN='$(TARGET)/traced' CRITERION_DIR='$(TARGET)/criterion' python3 bench/traced.py

.PHONY: soak
soak: install $(VENV)/.installed ## long run: many property cases and orders of evidence, kill -9 rounds, months of the sandbox, the threat model's defences switched off, faults planted for the simulation and every write of its seeds an end of the process, mutants, then fuzzing (about seven hours)
	TAPGATE_CASES=$(SOAK_CASES) cargo test --release $(TESTED) --no-fail-fast
	TAPGATE_CASES=$(SOAK_HISTORIES) cargo test --release $(TESTED) --test all -- --nocapture the_ledger_decides
	cargo test --release $(TESTED) --test all -- --ignored --nocapture settlement::
	cargo build --release --package tapgate
	TAPGATE_BIN='$(TARGET)/release/tapgate' TAPGATE_KILL_ROUNDS=$(SOAK_KILLS) \
	  '$(VENV)/bin/python' -m pytest -q $(ACCEPTANCE)/test_durability.py
	TAPGATE_BIN='$(TARGET)/release/tapgate' TAPGATE_SOAK=1 \
	  '$(VENV)/bin/python' -m pytest -q $(ACCEPTANCE)/test_sandbox.py -k every_fault
	scripts/soak-sandbox.sh '$(TARGET)/release/tapgate'
	scripts/defences.py
	scripts/planted.py
	SIMULATION_SECONDS=$(SOAK_SIMULATION_SECONDS) SIMULATION_KEPT='$(CURDIR)/docs/reliability/simulation.jsonl' \
	  cargo test --release --package tapgate --lib every_write_is_an_end -- --ignored --nocapture
	$(MAKE) --no-print-directory mutants
	$(MAKE) --no-print-directory fuzz FUZZ_SECONDS=$(SOAK_SECONDS)
