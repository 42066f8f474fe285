# Everything a developer or CI calls. `make` alone lists the targets.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
SHELL := /bin/bash
# Where the environment forbids bytecode, each process that a test starts would compile all anew.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help demo test test-anew check check-demo bench bench-check bench-profile bench-pages bench-report bench-carbon backtest backtest-parts backtest-first bench-spot bench-queue bench-pipeline bench-ledger bench-service bench-capacity bench-goodput bench-noise bench-tune bench-tune-overhead bench-advisor \
	campaign \
	price-book price-servers aws-loopback gcp-loopback azure-loopback slurm-loopback kubernetes-loopback service-loopback build clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F':.*## ' '{printf "  %-20s %s\n", $$1, $$2}'

$(VENV)/.created:
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 is needed: apt-get install python3.11-venv, or make PYTHON=…"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

# Two stamps: the demo needs only the product, the tests also the tools.
$(VENV)/.product: $(VENV)/.created pyproject.toml constraints.txt
	$(PIP) install -c constraints.txt -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.product
	$(PIP) install -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(VENV)/.product ## Measure, plan and run a real job here, offline but for pip
	@scripts/demo.sh

# Tests wait for half of their time, so that there is work for two more than there are processors.
test: $(VENV)/.dev ## Run all tests
	$(BIN)/pytest -n $$(($$(nproc) + 2)) --dist worksteal

test-anew: $(VENV)/.dev ## Try every property on examples that no run has tried yet
	TEST_ANEW=1 $(BIN)/pytest -n auto $$(grep -rl hypothesis tests --include='test_*.py')

check: $(VENV)/.dev ## Format, lint, strict types, import contracts, structure, generated docs
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	PYTHONPATH=.dev $(BIN)/lint-imports --no-cache --no-logo
	$(BIN)/python scripts/structure.py
	$(BIN)/python scripts/readme.py --check

gcp-loopback: $(VENV)/.dev ## Serve a strict Google Cloud on loopback, to launch on; OPTIONS=--help
	$(BIN)/python -m tests.support.serve gcp $(OPTIONS)

price-servers: $(VENV)/.dev ## Serve the vendors' price services on loopback, to try prices refresh
	$(BIN)/python -m tests.support.price_servers

aws-loopback: $(VENV)/.dev ## Serve a strict AWS on loopback, whose machines really run, to try runs on
	@$(BIN)/python -m tests.support.serve aws $(OPTIONS)

azure-loopback: $(VENV)/.dev ## Serve a strict Azure on loopback, whose machines really run, to try runs on
	@$(BIN)/python -m tests.support.serve azure $(OPTIONS)

slurm-loopback: $(VENV)/.dev ## Start a real Slurm of two nodes on loopback, to try runs on
	@$(BIN)/python -m tests.support.slurm

kubernetes-loopback: $(VENV)/.dev ## Serve a strict Kubernetes on loopback, whose pods really run, to try runs on
	@$(BIN)/python -m tests.support.kubernetes.serve $(OPTIONS)

service-loopback: $(VENV)/.dev ## Run a service's replicas behind an engine on loopback, to try its guard; OPTIONS=--help
	@$(BIN)/python scripts/service_engine.py $(OPTIONS)

price-book: $(VENV)/.dev ## Make the embedded price book from the tables in SOURCE=folder
	@test -n "$(SOURCE)" || { echo "make price-book SOURCE=folder-with-price-tables"; exit 1; }
	$(BIN)/python -m scripts.price_book.make $(SOURCE) --into pricing/data
	$(BIN)/python -m scripts.price_book.machines $(SOURCE) --into pricing/data

bench: $(VENV)/.dev ## Measure start-up against targets, into docs/benchmarks.md
	$(BIN)/python scripts/bench.py
	@$(BIN)/python scripts/readme.py

bench-profile: $(VENV)/.dev ## Hold the profiler to jobs of known truth; EXAMPLES=1 runs the examples too
	EXAMPLES=$(EXAMPLES) $(BIN)/python scripts/bench_profile.py
	@$(BIN)/python scripts/readme.py

check-demo: $(VENV)/.product ## Build a sample repository with a pull request, and print its cost comment
	$(BIN)/python scripts/check_demo.py

bench-check: $(VENV)/.product ## Measure cost checks of large repositories, into docs/benchmarks.md
	$(BIN)/python scripts/bench_check.py
	@$(BIN)/python scripts/readme.py

bench-carbon: $(VENV)/.dev ## Hold our power of this machine against CodeCarbon, into docs/carbon.md
	PYTHONPATH=. $(BIN)/python scripts/bench_carbon.py

bench-report: $(VENV)/.dev ## Measure a report on 100,000 runs, into docs/report.md
	PYTHONPATH=. $(BIN)/python scripts/bench_report.py

bench-pages: $(VENV)/.dev ## Open the page of a plan of 5,000 quotes in a browser, into docs/benchmarks.md
	$(BIN)/python scripts/bench_pages.py
	@$(BIN)/python scripts/readme.py

backtest: $(VENV)/.product ## Play the choice on tables of measured runs, into docs/benchmarks.md
	$(BIN)/python scripts/bench_choosing.py
	$(BIN)/python scripts/bench_paper.py
	@$(BIN)/python scripts/readme.py

backtest-parts: $(VENV)/.product ## The same on parts of those tables, a guard against tuning to them
	$(BIN)/python scripts/bench_parts.py

bench-spot: $(VENV)/.dev ## Play the spot policies on traces, into docs/benchmarks.md; STARTS=4 JOBS=2000
	PYTHONPATH=. $(BIN)/python scripts/bench_spot.py

bench-queue: $(VENV)/.product ## Play the queue policies on traces, into docs/benchmarks.md; SEED=2 LOADS=0.9 DAYS=27:57
	$(BIN)/python scripts/bench_queue.py

bench-pipeline: $(VENV)/.dev ## Hold the optimiser of pipelines to brute force, into docs/benchmarks.md; CASES=1000
	PYTHONPATH=. $(BIN)/python scripts/bench_pipeline.py

bench-service: $(VENV)/.product ## Play the policies for a service's ceiling on traces, into docs/benchmarks.md
	$(BIN)/python scripts/bench_service.py
	$(BIN)/python scripts/bench_mix.py

bench-capacity: $(VENV)/.dev ## Measure servers of known capacity, into docs/benchmarks.md; SECONDS=40
	PYTHONPATH=. $(BIN)/python scripts/bench_capacity.py

bench-goodput: $(VENV)/.product ## Play adaptive training on measured trainings, into docs/benchmarks.md
	$(BIN)/python scripts/bench_goodput.py

bench-noise: $(VENV)/.dev ## Hold the gradient noise that is seen to that of single samples; MLBROKER_HOOKS_PYTHON
	PYTHONPATH=. $(BIN)/python scripts/bench_noise.py

bench-tune: $(VENV)/.dev ## Play studies on recorded learning curves, into docs/benchmarks.md; REPEATS=5
	PYTHONPATH=. $(BIN)/python scripts/bench_tune.py

bench-tune-overhead: $(VENV)/.dev ## What a study's lane takes beside trials of one second, after 950 of them
	PYTHONPATH=. $(BIN)/python scripts/bench_tune_overhead.py

bench-advisor: $(VENV)/.product ## Measure what watching tokens takes, and what trials claim, into docs/advice.md; MLBROKER_HOOKS_PYTHON
	$(BIN)/python scripts/bench_advisor.py
	$(BIN)/python scripts/bench_advisor_claims.py

backtest-first: $(VENV)/.product ## The same with one family of past jobs only, of each kind
	$(BIN)/python scripts/bench_first.py

campaign: $(VENV)/.dev ## Full-size reliability campaigns, figures into docs/reliability.md (about an hour)
	rm -rf .campaign
	CAMPAIGN=full CAMPAIGN_FIGURES=.campaign $(BIN)/pytest tests/campaigns -n auto
	$(BIN)/python scripts/campaign_figures.py .campaign docs/reliability.md
	@$(BIN)/python scripts/readme.py

bench-ledger: $(VENV)/.dev ## A team's ledger on PostgreSQL at full size, into docs/reliability.md (6 minutes)
	rm -rf .campaign
	CAMPAIGN=full CAMPAIGN_FIGURES=.campaign $(BIN)/pytest tests/campaigns/test_team_ledger.py
	$(BIN)/python scripts/campaign_figures.py .campaign docs/reliability.md

build: $(VENV)/.dev ## Build sdist and wheel into dist/
	rm -rf dist && $(BIN)/python -m build --no-isolation --outdir dist .

clean: ## Remove what make made
	rm -rf $(VENV) dist build .demo .campaign .mypy_cache .ruff_cache .pytest_cache .hypothesis
	rm -rf examples/*/.venv examples/*/data examples/*/checkpoints
