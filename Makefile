# `make demo` and `make test` each work on a machine with python3 (3.10 to 3.13), make and a package registry:
# they create .venv, install the pinned environment once, and do the whole job.

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
ROOMS := package runtime models calibration export benchmarks cli
OUT := demo-out

.DEFAULT_GOAL := help
.PHONY: help venv demo test judge soak lint types docs sbom audit clean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-6s %s\n", $$1, $$2}' Makefile

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check -q -c constraints.txt -e ".[all,dev]"
	@touch $@

venv: $(STAMP)  ## create .venv with everything pinned in constraints.txt

demo: $(STAMP)  ## deploy tiny to ONNX Runtime and OpenVINO, verify both, deblur a photo
	$(BIN)/fdikp-edge deploy --model tiny --target onnx --target openvino --precision fp32 \
	    --size 256x256 --out $(OUT) --overwrite
	$(BIN)/fdikp-edge deblur runtime/samples/astronaut-defocused.jpg --artifact $(OUT)/tiny-onnx-fp32-256x256 \
	    --out $(OUT)/astronaut-deblurred.png --overwrite

# A worker for each core; PyTorch's own threads would spin while they wait for each other's core.
test: $(STAMP)  ## run all tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n logical --maxprocesses 8 --dist loadfile --no-loadscope-reorder

# Half an hour on four cores: PyTorch's own samples of every complex operator. `make test` judges a few of them.
judge: $(STAMP)  ## hold the lowering against all of PyTorch's operator samples
	OMP_NUM_THREADS=1 FDIKP_JUDGE=1 $(BIN)/python -m pytest -n logical --maxprocesses 8 --dist load \
	    tests/export/spectral/test_operators.py

# 31 processor minutes; docs/reliability.md says what it runs. `make test` runs a few cases of each.
soak: $(STAMP)  ## damaged files, kills, full disks, and a long run
	$(BIN)/python tests/reliability/soak.py

lint: $(STAMP)  ## ruff check, ruff format --check, mypy --strict over every room
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@$(MAKE) --no-print-directory types

# mypy needs the rooms under one `fdikp_edge` folder, as an installation lays them out. A copy is installed, so that
# no build/ folder appears in the checkout; mypy must then have checked no fewer files than the tree has.
types: $(STAMP)  ## the part of lint that mypy does
	@rm -rf .lint && mkdir -p .lint/source
	@cp -R pyproject.toml README.md LICENSE $(ROOMS) .lint/source/
	@$(BIN)/python -m pip install --disable-pip-version-check -q --no-deps --no-build-isolation \
	    --target .lint/site ./.lint/source
	MYPYPATH=.lint/site $(BIN)/mypy -p fdikp_edge >.lint/mypy.txt || { cat .lint/mypy.txt; exit 1; }
	@cat .lint/mypy.txt
	@test "$$(sed -n 's/.* in \([0-9]*\) source files/\1/p' .lint/mypy.txt)" -ge "$$(find $(ROOMS) -name '*.py' | wc -l)" \
	    || { echo "lint: mypy did not see every file: does 'packages' in pyproject.toml name all?" >&2; exit 1; }

# In an environment of its own: what builds the site has nothing to do with what is tested.
docs:  ## build the documentation site into build/site; a broken link fails
	@test -x .venv-docs/bin/mkdocs || { $(PYTHON) -m venv .venv-docs \
	    && .venv-docs/bin/python -m pip install --disable-pip-version-check -q -r docs/requirements.txt; }
	.venv-docs/bin/python docs/build_site.py

SUPPLY := .venv-supply/.installed

$(SUPPLY): tests/supply/requirements.txt
	$(PYTHON) -m venv .venv-supply
	.venv-supply/bin/python -m pip install --disable-pip-version-check -q -r tests/supply/requirements.txt
	@touch $@

# The wheel's bill of materials, in CycloneDX's form, is that of the environment it is tested in. The one that each
# report holds is checked against CycloneDX's schema.
sbom: $(STAMP) $(SUPPLY)  ## write dist/fdikp-edge.cdx.json, the software bill of materials
	@mkdir -p dist
	.venv-supply/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible --validate \
	    -o dist/fdikp-edge.cdx.json $(BIN)/python
	$(BIN)/python -c "import json; from fdikp_edge.runtime.installed.bill import bill; \
	    print(json.dumps(bill('2026-01-01T00:00:00+00:00')))" | .venv-supply/bin/python tests/supply/schema.py

audit: $(SUPPLY)  ## look the pinned packages up among known vulnerabilities
	.venv-supply/bin/python tests/supply/audit.py

clean:  ## remove .venv and everything made here
	rm -rf .venv .venv-docs .venv-supply .lint build dist $(OUT) *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
