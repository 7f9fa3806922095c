# The ways into the house. Every target does its own set-up on a machine with
# Rust, Python 3 and nothing else; `make help` lists them.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules --no-print-directory

# Queries are checked against the committed data, not against a database.
export SQLX_OFFLINE := true

CARGO ?= cargo
TOOLS := .tools/bin
DEVMESH := $(or $(CARGO_TARGET_DIR),target)/debug/bursar-devmesh
FORMAT ?= text
# What `make up` and `make test` are built with, the same for both, so that
# neither builds what the other has: the points at which tests kill a process.
# Releases are built without them.
FEATURES := --features crash-points

.PHONY: help
help: ## Show this list.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 22

# The mesh ---------------------------------------------------------------------

.PHONY: up
up: tools build ## Start the mesh and wait for it (RATE_LIMITS=off, GATEWAY_PORT=8080).
	@$(DEVMESH) up

.PHONY: down
down: $(DEVMESH) ## Stop the mesh; its data stay.
	@$(DEVMESH) down

.PHONY: reset
reset: $(DEVMESH) ## Stop the mesh and forget its data.
	@$(DEVMESH) reset

.PHONY: status
status: $(DEVMESH) ## Show processes and databases (FORMAT=json for programs).
	@$(DEVMESH) status --format $(FORMAT)

.PHONY: logs
logs: $(DEVMESH) ## Show the ends of all logs (NAME=wallet for one, FOLLOW=1 to go on).
	@$(DEVMESH) logs $(if $(FOLLOW),--follow) $(NAME)

.PHONY: demo
demo: tools build ## See money move through the running mesh.
	@$(DEVMESH) demo

.PHONY: verify
verify: tools build ## Check every invariant on the mesh's data.
	@$(DEVMESH) verify

.PHONY: bench
bench: tools ## Measure the ledger and transfers; BENCH_ONLY, BENCH_QUICK=1, BENCH_SECONDS and BENCH_RUNS shorten it.
	@$(CARGO) build --package bursar-devmesh >&2
	@$(DEVMESH) bench

# Checks -----------------------------------------------------------------------

.PHONY: test
test: lint build-tests ## Lint, then every test, with servers and a mesh of their own.
	$(DEVMESH) test-servers -- $(DEVMESH) with-mesh -- $(CARGO) test --workspace $(FEATURES) --no-fail-fast

# Freezes, kills and kills of PostgreSQL at every crash point: too long for `make test`.
.PHONY: chaos
chaos: tools $(DEVMESH) ## Kill, freeze and cut off money movement at every step (CHAOS_POINTS=advance., CHAOS_WAYS=freeze).
	$(DEVMESH) test-servers -- $(CARGO) test --workspace $(FEATURES) --test crash -- --ignored --nocapture chaos::

.PHONY: canaries
canaries: tools build-tests ## Break rules on purpose, one after another: a test must notice each (CANARIES=ledger.).
	@$(DEVMESH) test-servers -- $(DEVMESH) canaries -- --workspace $(FEATURES)

.PHONY: lint
lint: tools build-tests ## Format, clippy, contract, directions, licences.
	$(CARGO) fmt --all --check
	$(TOOLS)/buf lint
	shared/devmesh/tools/buf-breaking.sh
	$(DEVMESH) directions
	$(TOOLS)/cargo-deny --log-level warn check bans licenses sources
	$(CARGO) clippy --workspace --all-targets $(FEATURES) -- --deny warnings

.PHONY: advisories
advisories: tools ## Look for known vulnerabilities (needs the advisory database).
	$(TOOLS)/cargo-deny check advisories

# Work on the sources ----------------------------------------------------------

.PHONY: fmt
fmt: ## Format the Rust sources.
	$(CARGO) fmt --all

.PHONY: sqlx-prepare
sqlx-prepare: tools $(DEVMESH) ## Write the offline data of the checked queries (CRATE=bursar-wallet for one).
	$(DEVMESH) sqlx-prepare $(CRATE)

.PHONY: build
build: ## Build every program of the mesh.
	@$(CARGO) build --workspace --bins $(FEATURES) >&2

# The programs and the tests in one go, so that both share every dependency.
.PHONY: build-tests
build-tests:
	$(CARGO) build --workspace --bins --tests $(FEATURES)

.PHONY: tools
tools: ## Install the pinned tools into .tools (the other targets do it by themselves).
	@python3 shared/devmesh/tools/install.py

# For the targets that need no more than what runs: built only when missing.
$(DEVMESH):
	@$(CARGO) build --package bursar-devmesh >&2
