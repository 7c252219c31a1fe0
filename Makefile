# One command per intention, the same on a laptop and in CI. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules --no-print-directory

PYTHON ?= python3.11
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check --quiet --constraint constraints.txt
export PYTHONUTF8 := 1

##@ Use it
.PHONY: run
run: $(VENV)/run.stamp ## Everything from a fresh clone to a working chat; Ctrl-C stops it (ARGS="--help" for options)
	@exec $(BIN)/banksight up $(ARGS)

.PHONY: install
install: $(VENV)/dev.stamp ## Only the set-up: virtual environment, packages, the exported embedding model

##@ Work on it
.PHONY: test
test: $(VENV)/dev.stamp services ## Everything from a fresh clone to all tests passed (ARGS="-k citation" goes to pytest)
	@$(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

.PHONY: check
check: $(VENV)/dev.stamp ## Format, lint, types, import rules, secrets, the matrix of requirements, and the version
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m evaluations.code_findings
	@$(BIN)/python -m evaluations.proof_matrix --check
	@package=$$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml); \
	changelog=$$(sed -n 's/^## \[\([0-9][^]]*\)\].*/\1/p' CHANGELOG.md | head -n 1); \
	test "$$package" = "$$changelog" \
	  || { echo "pyproject.toml has version $$package, CHANGELOG.md has $$changelog; make them equal" >&2; exit 1; }

.PHONY: format
format: $(VENV)/dev.stamp ## Rewrite the code as the formatter wants it, and apply safe lint fixes
	@$(BIN)/ruff check --fix --exit-zero . && $(BIN)/ruff format .

.PHONY: bench
bench: $(VENV)/dev.stamp ## Speed and memory next to the plain way of doing the same, in one run
	@$(BIN)/python -m evaluations.ingestion_benchmark
	@$(BIN)/python -m evaluations.service_benchmark
	@$(BIN)/python -m evaluations.evaluation_benchmark
	@$(BIN)/python -m evaluations.cache_benchmark
	@$(BIN)/python -m evaluations.load_benchmark
	@$(BIN)/python -m evaluations.governance_benchmark
	@$(BIN)/python -m evaluations.guards_benchmark

.PHONY: bench-retrieval
bench-retrieval: $(VENV)/dev.stamp ## Ranking quality next to MiniLM alone, BM25 alone and RRF
	@$(BIN)/python -m evaluations.retrieval_benchmark $(ARGS)

.PHONY: bench-llm
bench-llm: $(VENV)/dev.stamp ## Engines for text generation next to one after the other and to static batches
	@$(BIN)/python -m evaluations.llm_benchmark $(ARGS)

.PHONY: chaos
chaos: $(VENV)/dev.stamp ## Kill, freeze, fill and corrupt everything under load, and see what callers get (ARGS="--rows F1,F4")
	@$(BIN)/python -m evaluations.chaos $(ARGS)

.PHONY: rehearsal
rehearsal: $(VENV)/dev.stamp ## Production on this machine: checklists, load, backup, a kill, a loss, a restore (ARGS="--keep FOLDER")
	@$(BIN)/python -m evaluations.rehearsal $(ARGS)

##@ Ship it
export TARGET ?= cpu
IMAGE ?= all
IN_IMAGES := . configs/deploy/images/names.sh

.PHONY: bento
bento: $(VENV)/dev.stamp ## What images are made of, in dist/bentoml (TARGET=cpu, gn6v or cuda: docs/operations.md)
	@$(IN_IMAGES); mkdir -p dist; \
	sed "/name: BANKSIGHT_TARGET/{n;s/value: .*/value: $$TARGET/}" bentofile.yaml > dist/bentofile.yaml; \
	rm -rf "dist/bentoml/bentos/banksight/$$TAG"; \
	BANKSIGHT_PROFILE=test BENTOML_DO_NOT_TRACK=True BENTOML_HOME=$(CURDIR)/dist/bentoml $(BIN)/python -m bentoml build \
	  --bentofile dist/bentofile.yaml --version "$$TAG" --label target="$$TARGET" --label revision="$$REVISION" --output tag

.PHONY: image
image: ## Build images with docker, podman or buildah (IMAGE=backend, ui, chroma or proxy; TARGET as above)
	@case "$(IMAGE)" in all | backend) $(MAKE) bento ;; esac
	@configs/deploy/images/build.sh $(IMAGE)

.PHONY: push
push: ## Push images and print their digests (REGISTRY=…, REGISTRY_USER and REGISTRY_TOKEN from the environment)
	@configs/deploy/images/push.sh $(IMAGE)

.PHONY: cloud cloud-check
cloud: .venv-cloud/stamp ## Write the template for Alibaba Cloud anew: configs/deploy/alibaba/template.json (needs Node)
	@.venv-cloud/bin/python configs/deploy/alibaba/synthesise.py

cloud-check: .venv-cloud/stamp ## Say whether that template is what its sources give
	@.venv-cloud/bin/python configs/deploy/alibaba/synthesise.py --check

.venv-cloud/stamp: configs/deploy/alibaba/requirements.txt
	@command -v node > /dev/null || { $(call apt-install,nodejs) ; } || { echo "Node is missing: install it, 18 or newer" >&2; exit 1; }
	@$(PYTHON) -m venv .venv-cloud
	@.venv-cloud/bin/python -m pip install --disable-pip-version-check --quiet --requirement $<
	@touch $@

.PHONY: sbom
sbom: $(VENV)/dev.stamp ## Write the bill of materials, packages and models by digest: dist/banksight.cdx.json (CycloneDX)
	@mkdir -p dist; $(BIN)/python -m bentos.bill_of_materials > dist/banksight.cdx.json.new
	@mv dist/banksight.cdx.json.new dist/banksight.cdx.json; echo "dist/banksight.cdx.json"

.PHONY: test-image
test-image: $(VENV)/dev.stamp containers ## Build all images here without a registry, run them, end them, push and pull them (root; 20 minutes)
	@$(BIN)/python -m pytest -m image -s tests/integration/test_deploy_image.py $(ARGS)

.PHONY: test-compose
test-compose: $(VENV)/dev.stamp .venv-compose/stamp containers ## The shipped compose file over those images: ask it, and lose a node (root)
	@PATH="$(CURDIR)/.venv-compose/bin:$$PATH" $(BIN)/python -m pytest -m image -s tests/integration/test_deploy_compose.py $(ARGS)

.PHONY: containers
CONTAINERS := buildah podman runc netavark aardvark-dns catatonit mmdebstrap docker-registry
containers:
	@missing=; for each in $(CONTAINERS); do dpkg --status $$each > /dev/null 2>&1 || missing+=" $$each"; done; [ -z "$$missing" ] \
	  || { $(call apt-install,$$missing) ; } || { echo "Not installed:$$missing. As root on Debian: apt-get install$$missing" >&2; exit 1; }

.venv-compose/stamp: Makefile
	@$(PYTHON) -m venv .venv-compose
	@.venv-compose/bin/python -m pip install --disable-pip-version-check --quiet podman-compose==1.6.0
	@touch $@

##@ Look after it
.PHONY: constraints
constraints: ## Pin again: the newest versions that pyproject.toml allows, from a fresh environment (needs network)
	@folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; $(PYTHON) -m venv "$$folder"; \
	torch=$$(sed -n 's/^torch==/torch==/p' constraints.txt); \
	"$$folder/bin/python" -m pip install --quiet --upgrade pip; \
	"$$folder/bin/python" -m pip install --quiet "$$torch"; \
	"$$folder/bin/python" -m pip install --quiet --editable '.[dev]' "$$torch"; \
	{ sed -n '/^#/p' constraints.txt; \
	  "$$folder/bin/python" -m pip freeze --exclude-editable | sed 's/^\(torch==[0-9.]*\)+.*/\1/'; } > "$$folder/new"; \
	cp "$$folder/new" constraints.txt; \
	"$$folder/bin/python" -m bentos.requirements > "$$folder/bento"; cp "$$folder/bento" bentos/requirements.txt

.PHONY: clean
clean: ## Remove the virtual environment and all caches; your data in var/ stays
	@rm -rf $(VENV) .venv-cloud .venv-compose .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: help
help: ## This list
	@awk 'BEGIN { FS = ":.*## " } \
	  /^##@ / { printf "\n%s\n", substr($$0, 5) } \
	  /^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

# Set-up. A stamp says that its step was finished; a second run takes no time and needs no network.

$(VENV)/created.stamp:
	@command -v $(PYTHON) > /dev/null && $(PYTHON) -c 'import ensurepip, venv' 2> /dev/null \
	  || { $(call apt-install,python3.11 python3.11-venv) ; } \
	  || { echo "Python 3.11 with venv is missing: install it, or name it with PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "Making the virtual environment $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@touch $@

# torch comes first and alone, so that an index or folder with CPU wheels decides which build is taken.
$(VENV)/torch.stamp: $(VENV)/created.stamp
	@echo "Installing torch (the largest download)"
	@$(PIP) "$$(sed -n '/^torch==/p' constraints.txt)"
	@touch $@

$(VENV)/run.stamp: $(VENV)/torch.stamp pyproject.toml constraints.txt
	@echo "Installing BankSight"
	@$(PIP) --editable '.[serve,ui]'
	@$(export-embedding)
	@touch $@

$(VENV)/dev.stamp: $(VENV)/torch.stamp pyproject.toml constraints.txt
	@echo "Installing BankSight and what its developers use"
	@$(PIP) --editable '.[dev]'
	@$(export-embedding)
	@touch $@ $(VENV)/run.stamp

define export-embedding
$(BIN)/python -m rag.models.onnx_export --to "$${BANKSIGHT_DATA_DIR:-var}/models" > /dev/null
endef

# What the tests run for real, by Debian's names. A person without root is asked for the same list.

.PHONY: services
services:
	@missing=; \
	for pair in chromium:chromium redis-server:redis-server nginx:nginx postgres:postgresql promtool:prometheus \
	             restic:restic strace:strace; do \
	  PATH="$$PATH:/usr/sbin:$$(echo /usr/lib/postgresql/*/bin)" command -v "$${pair%%:*}" > /dev/null \
	    || missing="$$missing $${pair##*:}"; \
	done; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	{ $(call apt-install,$$missing fonts-dejavu-core) ; } && exit 0; \
	echo "Not installed:$$missing. Tests that need them are skipped; as root: apt-get install$$missing" >&2; \
	[ -z "$${BANKSIGHT_REQUIRE_SERVICES:-}" ]

# $(call apt-install,names): installs Debian packages where that is possible, else fails without a word.
define apt-install
[ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null && echo "Installing $(1)" \
  && apt-get update --quiet=2 \
  && DEBIAN_FRONTEND=noninteractive apt-get install --quiet=2 --yes --no-install-recommends $(1) > /dev/null
endef
