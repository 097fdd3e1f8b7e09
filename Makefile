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

# cargo-fuzz wants a nightly compiler; without sanitizers (the code is safe Rust) a stable one will do.
SECONDS ?= 60
fuzz:
	for target in $$(cargo fuzz list); do \
		mkdir -p fuzz/corpus/$$target && \
		RUSTC_BOOTSTRAP=1 cargo fuzz run --sanitizer none $$target fuzz/corpus/$$target fuzz/seeds -- \
			-max_total_time=$(SECONDS) -timeout=10 -dict=fuzz/mail.dict || exit 1; \
	done

fmt:
	cargo fmt --all
	cargo fmt --manifest-path fuzz/Cargo.toml
