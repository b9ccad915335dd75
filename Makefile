# make demo    animate the bundled portrait with the bundled clip
# make app     open the studio: record, animate and compare in the browser
# make test    run the tests
# make fuzz    look for files that break a reader (SECONDS=600)
# make soak    watch the page with eight visitors (MINUTES=30)
# make lint    check style and types
# Everything runs in VENV, which is made on first use with PYTHON, or where that is none of 3.10 to 3.12 with one that uv
# finds or fetches.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DEMO := outputs/demo
SECONDS ?= 600
MINUTES ?= 30
SUPPORTED := import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))

.PHONY: demo app test fuzz soak lint clean
.DELETE_ON_ERROR:

$(VENV)/installed: pyproject.toml constraints.txt
	@echo "Setting up $(VENV): needs about 7 GB of disk and some minutes the first time"
	@if $(BIN)/python -c '$(SUPPORTED)' 2>/dev/null; then :; \
	elif $(PYTHON) -c '$(SUPPORTED)'; then $(PYTHON) -m venv $(VENV); \
	else echo "$(PYTHON) is not Python 3.10 to 3.12: uv, in $(VENV)-uv, finds or fetches one"; \
		$(PYTHON) -m venv $(VENV)-uv && $(VENV)-uv/bin/pip install --quiet uv \
		&& $(VENV)-uv/bin/uv venv --quiet --seed --python '>=3.10,<3.13' $(VENV) \
		|| { echo "error: no Python 3.10 to 3.12 could be had; install one and name it (make PYTHON=python3.12), or" \
			"make the environment with conda (conda create --prefix $(VENV) python=3.12) and run make again"; exit 2; } >&2; \
	fi
	$(BIN)/pip install --quiet --upgrade pip
	@# what setuptools says of every editable installation is of no use here
	PYTHONWARNINGS=ignore $(BIN)/pip install --quiet --constraint constraints.txt --editable '.[app,export,identity,test,lint]'
	@touch $@

demo: $(VENV)/installed
	$(BIN)/python infer.py --source fomm/assets/portrait.png --driving fomm/assets/speaker.mp4 \
		--output $(DEMO)/result.mp4 --side_by_side true
	@cp $(DEMO)/result_side_by_side.mp4 $(DEMO)/side_by_side.mp4
	@$(BIN)/python -m fomm strip $(DEMO)/side_by_side.mp4 $(DEMO)/result.png
	@echo "Done. Look at $(DEMO)/result.mp4, $(DEMO)/side_by_side.mp4 and $(DEMO)/result.png"

app: $(VENV)/installed
	$(BIN)/python app.py

# One thread per worker: two workers with two threads each would fight over two cores.
test: $(VENV)/installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

# Broken files, each in a process that may die of it; what is neither read nor refused is a fault.
fuzz: $(VENV)/installed
	OMP_NUM_THREADS=1 PYTHONPATH=.:tests $(BIN)/python -m fuzz.fuzz $(SECONDS)

# The page with visitors who upload, break off, leave, come back and go live.
soak: $(VENV)/installed
	OMP_NUM_THREADS=1 PYTHONPATH=.:tests $(BIN)/python tests/soak.py $(MINUTES)

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) $(VENV)-uv outputs
