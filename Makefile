# A few verbs, the same by hand and in CI (.ci/run).

.DEFAULT_GOAL := help
.PHONY: help run split test soak lint prepare bench

# Builds need no database: the checked queries are described in .sqlx/.
export SQLX_OFFLINE := true

help: ## List the verbs
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

run: ## Start everything on http://localhost:8080, with a database and a mailbox of its own
	@scripts/install-build-tools.sh
	@scripts/install-postgres.sh
	BANYAN_ENV=development cargo run -- serve

split: ## Start a gateway and four modules as five processes, each with a database, and NATS
	@scripts/install-build-tools.sh
	@scripts/install-postgres.sh
	@scripts/install-nats.sh
	cargo build
	@scripts/split.sh

test: ## Run every test
	@scripts/install-build-tools.sh
	@scripts/install-postgres.sh
	@scripts/install-nats.sh
	@scripts/install-test-tools.sh
	@scripts/install-browser.sh
	cargo test --workspace
	BANYAN_TEST_PLACES=five cargo test --package banyan --test app -- browser edge flows keys outside routes

# typos is no part of it: on a fresh machine its build takes as long (2.5 minutes of CPU) as cargo-deny's.
lint: ## Check format, lints, dependencies and the descriptions of queries
	@scripts/install-build-tools.sh
	@scripts/install-postgres.sh
	@scripts/install-lint-tools.sh
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo deny --all-features check licenses bans sources
	cargo machete
	cargo xtask prepare --check

prepare: ## Describe the checked queries anew, after a change of migrations or queries
	@scripts/install-postgres.sh
	cargo xtask prepare

soak: ## Run the tests of faults for minutes instead of seconds
	@scripts/install-build-tools.sh
	@scripts/install-postgres.sh
	@scripts/install-nats.sh
	@scripts/install-test-tools.sh
	BANYAN_TEST_SOAK=1 cargo test --package banyan --test app faults -- --nocapture --test-threads=1

bench: ## Measure speed and memory against the limits of what Banyan stands on
	@scripts/install-build-tools.sh
	@scripts/install-postgres.sh
	@scripts/install-nats.sh
	@scripts/install-bench-tools.sh
	cargo build --release --package banyan --package bench
	target/release/bench
