# The developers' menu.

.PHONY: help try test bench fuzz fmt

help:
	@echo 'make try     the whole system on loopback, eight cases and a letter each way'
	@echo 'make test    everything that must hold (installs what the tests need)'
	@echo 'make bench   measurements against peers'
	@echo 'make fuzz    each fuzz target for a minute (SECONDS=60)'
	@echo 'make fmt     format the sources'

try:
	cargo run --release --locked -- try

test:
	sh tests/run

bench:
	sh tests/bench/run

SECONDS ?= 60
fuzz:
	for target in $$(cargo fuzz list); do cargo fuzz run $$target -- -max_total_time=$(SECONDS) || exit 1; done

fmt:
	cargo fmt --all
