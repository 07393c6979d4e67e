PYTHON ?= python3
BIN = .venv/bin

.PHONY: install train test test-slow lint docs dist bench ledger faults clean

install: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	# its own dependencies pin an older MuJoCo; the tests of Meta-World skip without it
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps metaworld==3.1.1
	touch $@

train: install
	$(BIN)/metarl train point-navigation

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/pyright

test: install
	$(BIN)/pytest -n 2 --dist loadgroup --durations 10

test-slow: install
	$(BIN)/pytest -m slow

docs: install
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html

dist: install
	rm -rf dist
	$(BIN)/python -m build --no-isolation
	$(BIN)/twine check --strict dist/*

bench: install
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[bench]"
	$(BIN)/python benchmarks/sampling.py --envs all --seconds 0.7 --json benchmarks/results/sampling.json
	$(BIN)/python benchmarks/iteration.py --presets point-navigation,half-cheetah-vel,ant-dir --methods all --json benchmarks/results/iteration.json

ledger: install
	$(BIN)/python benchmarks/ledger.py reproduce --family $(FAMILY)

faults: install
	METARL_FAULTS=benchmarks/results/faults.md $(BIN)/pytest -m "slow or not slow" tests/faults
	$(BIN)/python benchmarks/soak.py --json benchmarks/results/soak.json

clean:
	rm -rf .venv build dist docs/_build docs/_generated
