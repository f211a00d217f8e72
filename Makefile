# The commands that people type. `make demo` and `make test` see to everything that they need.

.PHONY: demo test chaos bench bench-versioning bench-set-based bench-large-spec bench-marts bench-orders bench-shop test-18 check generate update setup

## Five minutes: a source, a warehouse, time travel, on a private PostgreSQL
demo: setup
	cargo run --quiet -- demo

## Every test, on real servers that the tests start themselves
test: setup
	@scripts/wal2json
	cargo test --workspace --no-fail-fast

## The tests that a server's version can change, on PostgreSQL 18
test-18: setup
	bin=$$(scripts/postgres-18) && export MEDALLION_POSTGRES_BIN=$$bin && \
		failed=0; \
		cargo test --no-fail-fast -p medallion-server -p medallion-runtime -p warehouse || failed=1; \
		cargo test --no-fail-fast -p medallion --test evolution || failed=1; \
		exit $$failed

## The loader between two servers, of which anything dies: KILLS times, in an order that SEED decides
chaos: setup
	MEDALLION_CHAOS_SEED=$(SEED) MEDALLION_CHAOS_KILLS=$(KILLS) cargo test -p warehouse --test end_to_end -- chaos --nocapture

## How long a change takes to be seen, and how long changes take to land, on servers of their own
bench: setup
	cargo bench -p warehouse --bench latency
	cargo bench -p warehouse --bench landing

## What versioning by triggers costs, against none, one by hand, and nearform's where NEARFORM_SQL names its file
bench-versioning: setup
	cargo bench --quiet --profile dev -p medallion-runtime --bench versioning

## The loader's apply and repair against statements by hand
bench-set-based: setup
	cargo bench --quiet --profile dev -p medallion-runtime --bench set_based

## The refresh of stored marts against that of materialized views, at each number of rows in BENCH_ROWS
bench-marts: setup
	cargo bench --quiet --profile dev -p medallion --bench marts

## 100,000 changed orders by polling and by log, against a loop in Python; BENCH_ROWS and BENCH_RUNS say how many
bench-orders: setup
	cargo bench --quiet -p warehouse --bench orders

## A day's order lines of the shop against all of it anew
bench-shop: setup
	cargo bench --quiet -p warehouse --bench shop

## How long the tool takes with a spec of 1,000 relations
bench-large-spec:
	cargo bench --quiet -p medallion --bench large_spec

## What must hold before a commit: format, lints, generated files up to date
check: setup
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- --deny warnings
	cargo run --quiet -- check
	cargo run --quiet -- generate --check

## Writes entities, SQL and migrations from the specs; until 0.1 one migration makes all of the default warehouse
generate:
	cargo run --quiet -- generate --squash

## Rewrites what tests compare byte for byte; review the difference
update: setup
	MEDALLION_UPDATE=1 cargo test --workspace

setup:
	@scripts/setup
