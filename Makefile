# The commands that people type. `make demo` and `make test` see to everything that they need.

.PHONY: demo test chaos fuzz release bench test-18 check generate update setup

## Five minutes: a source, a warehouse, time travel, on a private PostgreSQL
demo: setup
	cargo build
	cargo run --quiet -- demo

## Every test, on real servers that the tests start themselves
test: setup
	@scripts/wal2json
	scripts/tests

# What is told in the same words whatever the server, or is made of statements that others of these tests ask of it, and
# has been asked once. `make test-18 SAME=` asks it too.
SAME := apart:: between:: beside:: cleared:: commands:: demo:: differed:: enterprise:: evolved:: forget:: large:: \
	lineage:: lived:: neighbours:: notebook:: prompt:: refusals:: selected:: told:: unit_tested::

## The tests that a server's version can change, on PostgreSQL 18
test-18: setup
	bin=$$(scripts/postgres-18) && MEDALLION_POSTGRES_BIN=$$bin \
		scripts/tests server/ runtime/ generated/ evolution -- $(addprefix --skip ,$(SAME))

## The loader between two servers, of which anything dies: KILLS times, in an order that SEED decides
chaos: setup
	MEDALLION_CHAOS_SEED=$(SEED) MEDALLION_CHAOS_KILLS=$(KILLS) cargo test -p warehouse --test end_to_end -- chaos --nocapture

## Input that breaks a TARGET of fuzz/, which is spec, pgoutput or question, searched for so many MINUTES
MINUTES ?= 10
fuzz:
	scripts/fuzz $(TARGET) $(MINUTES)

## Both programs as they are handed out: static, the same bytes from any folder
release: setup
	scripts/release

## What it costs, beside its neighbours, into benches/RESULTS.md; SIZE=small, medium or large, ONLY=marts,tool, TO= for none
SIZE ?= large
TO ?= benches
bench: setup
	cargo build --release -p medallion -p warehouse
	cargo run --release -p medallion-bench -- --size $(SIZE) $(if $(ONLY),--only $(ONLY)) $(if $(TO),--to $(TO))

## What must hold before a commit: format, lints, licences, generated files up to date; TOOL= for one that is built
TOOL ?= cargo run --quiet --
check: setup
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- --deny warnings
	scripts/deny || [ $$? = 2 ]
	$(TOOL) check
	$(TOOL) generate --check

## Writes entities, SQL and migrations from the specs; until 0.1 one migration makes all of the default warehouse
generate:
	cargo run --quiet -- generate --squash

## Rewrites what tests compare byte for byte; review the difference
update: setup
	MEDALLION_UPDATE=1 cargo test --workspace

setup:
	@scripts/setup
