# make demo    animate the bundled portrait with the bundled clip
# make app     open the studio: record, animate and compare in the browser
# make test    run the tests
# make lint    check style
# Everything runs in VENV, which is made on first use; PYTHON (3.10 to 3.12) makes it.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DEMO := outputs/demo

.PHONY: demo app test lint clean
.DELETE_ON_ERROR:

$(VENV)/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 10) <= v <= (3, 12) else f"error: Python {v[0]}.{v[1]} found, 3.10 to 3.12 needed; name one: make PYTHON=python3.11")'
	@echo "Setting up $(VENV): needs about 7 GB of disk and some minutes the first time"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[app,export,test,lint]'
	@touch $@

demo: $(VENV)/installed
	$(BIN)/python infer.py --checkpoint puppets --source fomm/assets/portrait.png --driving fomm/assets/speaker.mp4 \
		--output $(DEMO)/result.mp4 --side_by_side true
	@cp $(DEMO)/result_side_by_side.mp4 $(DEMO)/side_by_side.mp4
	@$(BIN)/python -m fomm strip $(DEMO)/side_by_side.mp4 $(DEMO)/result.png
	@echo "Done. Look at $(DEMO)/result.mp4, $(DEMO)/side_by_side.mp4 and $(DEMO)/result.png"

app: $(VENV)/installed
	$(BIN)/python app.py

# One thread per worker: two workers with two threads each would fight over two cores.
test: $(VENV)/installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

clean:
	rm -rf $(VENV) outputs
