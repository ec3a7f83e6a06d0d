# make demo   install everything into .venv and run the main job: houses -> questions -> models -> leaderboard
# make test   install and run the tests (make test-slow for the rest, make lint for style and types)
PYTHON ?= python3
BIN := .venv/bin
RUNS ?= runs
DATA ?= data
export OMP_NUM_THREADS ?= 2

.PHONY: demo install test test-slow lint format bench clean

demo: install
	$(BIN)/allocentric make configs/demo.yaml --out $(DATA)/demo
	$(BIN)/python -m allocentric.train.tiny $(DATA)/tiny --family all
	$(BIN)/allocentric eval configs/demo_eval.yaml --runs $(RUNS)

install: .venv/installed

.venv/installed: pyproject.toml constraints.txt scripts/system_libraries.sh
	scripts/system_libraries.sh
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[hf,dev]'
	touch $@

test: install
	$(BIN)/pytest -n auto -m "not slow"

test-slow: install
	$(BIN)/pytest -n 2 -m slow

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv $(RUNS) $(DATA)
