# Everything a user or developer runs: demo, test, check, bench. Needs Python >= 3.11 and PyPI.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test lint check bench clean links
demo: $(READY) links
	$(BIN)/python examples/wordcount.py --output out/wordcount --top 10

test: $(READY) links
	$(BIN)/python -m pytest

lint: $(READY) links
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	cd .ns && ../$(BIN)/mypy --config-file ../pyproject.toml -p hornbeam

check: lint
	$(BIN)/python -m pytest

bench: $(READY) links
	$(BIN)/python -m tests.bench

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

clean:
	rm -rf $(VENV) .ns build out *.egg-info
