# Sillon: make (build), make run, make test, make bench, make model. Everything else is CMake (CMakePresets.json).
.PHONY: all run test test-all bench model fuzz check clean deps deps-test
.DEFAULT_GOAL := all

MODEL := models/default
PORT ?= 8080

all: build/sillon

deps:
	@tools/install-deps run
deps-test:
	@tools/install-deps test

# The program, optimised, assertions on.
build/sillon: deps FORCE
	@cmake --preset release >build/configure.log 2>&1 || { cat build/configure.log; exit 1; }
	@cmake --build --preset release --target sillon
	@ln -sf release/sillon build/sillon
FORCE:
	@mkdir -p build

# The control room with a bundled synthetic exercise day, marked EXERCICE. Ctrl-C stops it.
run: build/sillon
	@echo "sillon: control room at http://127.0.0.1:$(PORT)/ (exercise, synthetic messages; Ctrl-C stops)"
	@build/sillon serve --port $(PORT) --data runs/exercise --replay data/exercise.ndjson

# Unit, reference and end-to-end tests under ASan and UBSan.
test: deps-test
	@mkdir -p build
	@cmake --preset dev >build/configure.log 2>&1 || { cat build/configure.log; exit 1; }
	@cmake --build --preset dev
	@ctest --preset dev -j $$(nproc)

# And: the same unit tests under TSan, in release mode, and a minute of each fuzz target.
test-all: test
	@cmake --preset tsan >build/configure.log && cmake --build --preset tsan && ctest --preset tsan -L unit -E 'train/test_resume'
	@cmake --preset release >build/configure.log && cmake --build --preset release && ctest --preset release
	@tools/fuzz 60

# Speed tables; run with nothing else running.
bench: build/sillon
	@bench/run

# The model that ships, from the seeds: about 40 minutes on two cores.
model: build/sillon
	@tools/make-model $(MODEL)

fuzz: deps-test
	@tools/fuzz 600

check: deps-test
	@tools/check

clean:
	rm -rf build
