# Everything a user or developer runs: demo, test, check, bench. Needs Python >= 3.11 and PyPI.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# The suite runs in two processes, a file of tests in one of them; 0 for one process.
TEST_PROCESSES ?= 2
PYTEST := $(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile

.PHONY: demo test lint check bench bench-compare bench-storage soak clean links
demo: $(READY) links
	$(BIN)/python examples/wordcount.py --output out/wordcount --top 10

test: $(READY) links
	$(PYTEST)

lint: $(READY) links
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	cd .ns && ../$(BIN)/mypy --config-file ../pyproject.toml -p hornbeam

check: lint
	$(PYTEST)

bench-storage: $(READY) links
	$(BIN)/python -m tests.bench.log_bench
	$(BIN)/python -m tests.bench.checkpoint_bench
	$(BIN)/python -m tests.bench.log_io_bench

bench: $(READY) links
	$(BIN)/python -m tests.bench
	$(BIN)/python -m tests.bench.scale --quick
	$(BIN)/python -m tests.bench.multiprocess_bench
	$(BIN)/python -m tests.bench.log_runner_bench
	$(BIN)/python -m tests.bench.stream_scale --counts 100000,1000000

# The package `hornbeam` is four folders of the root; .ns/hornbeam joins them by links, for tools that walk paths.
links:
	@mkdir -p .ns/hornbeam && find .ns/hornbeam -xtype l -delete
	@cd .ns/hornbeam && for entry in ../../sdk/* ../../io ../../runners ../../transforms; do \
		case $$entry in *__pycache__) ;; *) ln -sfn $$entry $$(basename $$entry) ;; esac; done

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(MAKE) --no-print-directory links
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@$(BIN)/python -c "import pathlib, sysconfig; pathlib.Path(sysconfig.get_path('purelib'), 'hornbeam-links.pth').write_text(str(pathlib.Path('.ns').resolve()))"
	@touch $(READY)

# The same work under Apache Beam and Bytewax, for interpreters that have them: make bench-compare PYTHONS="path/to/python"
bench-compare: $(READY) links
	$(BIN)/python -m tests.bench.compare $(foreach p,$(PYTHONS),--python $(p)) $(ARGS)

# Large jobs (50M outputs of one element, 20M pairs under a memory limit), long crash campaigns of the storage, and the suite with
# all cases of the model and generated examples that are others each time.
soak: $(READY) links
	$(BIN)/python -m tests.bench.scale
	$(BIN)/python -m tests.bench.state_bench
	$(BIN)/python -m tests.bench.state_bench --timers --keys 2000000 --elements 500000 --limit 128MB
	$(BIN)/python -m tests.bench.log_state_bench
	$(BIN)/python -m tests.bench.log_state_bench --timers --keys 2000000 --updates 500000 --limit 320MB
	$(BIN)/python -m tests.bench.groups_bench --keys 1000000 --elements 500000 --limit 64MB
	$(BIN)/python -m tests.bench.groups_bench --limit 256MB --unlimited "" --only sums --peak_mb_max 400
	$(BIN)/python tests/storage_checkpoint/crash_campaign.py --seconds 120
	$(BIN)/python tests/storage_checkpoint/kill_campaign.py --kills 1000
	cd tests && SEED=7 ../$(BIN)/python -m storage_log.test_log_crash_points 120
	cd tests && ../$(BIN)/python -W ignore -m multiprocess_runner.chaos 200 7
	$(BIN)/python -m tests.bench.multiprocess_bench --memory 100000000
	HORNBEAM_SOAK=1 $(BIN)/python -m pytest -q
	$(BIN)/python tests/log_runner/kill_campaign.py --kills 1000 --seconds 1380
	test -z "$$HORNBEAM_KAFKA" || $(BIN)/python tests/kafka_io/kafka_kill_campaign.py --kills 200
	$(BIN)/python -m tests.bench.stream_scale
	$(BIN)/python -m tests.bench.stream_scale --seconds 600
	HORNBEAM_SOAK=1 SCALE=20 $(BIN)/python -m pytest -q tests/properties/test_streams_against_reference.py
	cd tests && ../$(BIN)/python -m storage_log.kill_campaign 1000 7
	$(BIN)/python -m tests.bench.log_bench --only at_size

clean:
	rm -rf $(VENV) .ns build out *.egg-info
