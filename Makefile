# The project's commands. Each does all of its own set-up; after the first run they work offline.
PY := .venv/bin/python

.PHONY: published help setup compile docker clients browser overlays page vms demo docs docs-lines check check-statistics test test-clients test-vms lint bench bench-names bench-sim bench-cluster bench-docker bench-path bench-bpf bench-explore bench-tunnel bench-report fuzz same dist image gallery schema man waiter lock clean bench-links league bench-scale league-dind

help:                     ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | expand -t 12

setup:                    ## create .venv with everything the project needs (and, as root, missing system packages)
	@sh .ci/setup

docker: setup             ## as root: an engine and mmdebstrap, for hosts that run a Docker Engine
	@sh .ci/setup docker

clients: docker           ## real clients of the Docker API for the tests: docker's Python client, compose 1 and 2 (as root Podman too)
	@sh .ci/setup clients
	@sh .ci/clients || echo "could not fetch clients: what needs them will not be tested" >&2

browser: setup            ## as root: Chromium and Node.js, for tests of the page; the parts of the page from npm
	@sh .ci/setup browser
	@.ci/web >/dev/null || echo "could not fetch the parts of the page: its bundle will not be compared" >&2

overlays: setup           ## as root: the overlays of Debian that the lab can deploy (docs/overlays.md)
	@sh .ci/setup overlays

page:                     ## build lab/report/bundle from lab/report/web again (needs node and npm)
	@ln -sfn "$$(.ci/web)" lab/report/web/node_modules
	@node lab/report/web/build.mjs
	@rm lab/report/web/node_modules

vms: setup                ## as root: Vagrant with libvirt and QEMU, and the box of real machines
	@sh .ci/setup vms
	@$(PY) -m lab.cli images box --docker

image: docker            ## the image overlay-lab/weave: the overlay as containers, made without a registry (docs/install.md)
	@$(PY) -m lab.cli images weave dist/overlay-lab-weave.tar.gz

demo: setup               ## two hosts, the walk-through, a cut and its heal, a report to look at
	@$(PY) -m lab.cli run scenarios/walkthrough.yaml

docs-lines:              ## wrap the lines of README.md and docs/*.md at 100 columns
	@python3 tests/docs_lines.py

docs: setup               ## the documentation site, in dist/site; ends with an error at a link that leads nowhere
	@$(PY) -c 'import material' 2>/dev/null || $(PY) -m pip --disable-pip-version-check -q install --require-hashes -r docs/site/requirements.txt
	@NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build
	@echo "-> dist/site/index.html; with search: $(PY) -m http.server --bind 127.0.0.1 --directory dist/site"

compile: setup            ## cores and tunnel as machine code: simulations take half the time, the tunnel a third (as root installs a C compiler)
	@sh .ci/setup compile
	@$(PY) -m lab.cli compile

dist: setup               ## dist/weave: the overlay in one file, to be copied to hosts (docs/install.md)
	@$(PY) -m lab.dist

PURE := tests/sim tests/golden tests/unit
check: setup lint         ## what to run before each commit (minutes): style, types, the tests without real packets, one scenario with
	@$(PY) -m pytest $(PURE) -n 2 --dist worksteal -q
	@$(PY) -m pytest scenarios/walkthrough.yaml -q

# Tests on real packets: a file's tests stay in one process. What needs virtual machines comes first (tests/conftest.py).
WORKERS ?= 2
test: setup clients browser overlays lint  ## every tier of tests, and every scenario on real packets
	@sh .ci/setup compile
	@$(PY) -m overlay.runtime.rows.building >/dev/null || echo "the tunnel is tested in Python alone on real packets" >&2
	@code=0; \
	$(PY) -m pytest $(PURE) -n 2 --dist worksteal -q || code=$$?; \
	$(PY) -m pytest tests scenarios $(PURE:%=--ignore=%) -n $(WORKERS) --dist loadfile --no-loadscope-reorder --durations=25 || code=$$?; \
	exit $$code

test-clients: clients     ## as root: all integration tests of docker's Python client through the proxy (minutes)
	@CLIENTS=full $(PY) -m pytest tests/system/test_client_docker_sdk.py -s

test-vms: vms             ## as root: the walk-through and a partition on virtual machines (minutes)
	@$(PY) -m pytest scenarios/walkthrough.yaml scenarios/partition.yaml --lab-backend vagrant

lint: setup               ## style, the purity rule, strict types
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@.venv/bin/lint-imports --no-logo
	@$(PY) -m mypy

bench: setup              ## run the benchmarks; writes reports/bench/*.json and docs/performance.md
	@$(PY) -m benchmarks

published: compile         ## make published results of protocols again; writes reports/published (docs/protocols.md)
	@$(PY) -m benchmarks.published

bench-sim: compile        ## measure the simulator: many seeds, speed, growth to 2,000 peers, what gossip costs
	@$(PY) -m benchmarks sim_seeds sim

check-statistics: setup   ## do intervals and tests of sweeps keep what they say? on made-up sweeps (minutes)
	@$(PY) tests/check_statistics.py
	@$(PY) tests/check_sequential.py

SAME := HEAD
same: compile             ## are all simulated histories, compiled or not, those of commit SAME (HEAD)? for moves and merges of code
	@$(PY) tests/same $(SAME)

league: setup             ## play all questions on all overlays that are installed (2.5 hours and more; goes on where it was interrupted); writes docs/league.md
	@$(PY) -m lab.cli league --hours 2.5 --document docs/league.md

league-dind: setup        ## the same of Docker's own overlay and ours, on hosts that are Docker Engines; writes docs/league-dind.md
	@$(PY) -m lab.cli league --backend dind --repeats 5 --document docs/league-dind.md

FUZZ_SECONDS := 60
fuzz: setup               ## coverage-guided fuzzing of decoders, and of drivers with their cores, FUZZ_SECONDS (60) each; installs atheris into .venv
	@$(PY) -c 'import atheris' 2>/dev/null || $(PY) -m pip --disable-pip-version-check -q install atheris==3.0.0
	@mkdir -p reports; for target in $$($(PY) tests/fuzz/decoders.py --list); do \
		log=reports/fuzz-$$target.log; echo "fuzz $$target for $(FUZZ_SECONDS) s"; \
		$(PY) tests/fuzz/decoders.py $$target -max_total_time=$(FUZZ_SECONDS) -max_len=4096 -artifact_prefix=reports/fuzz- \
		>$$log 2>&1 || { tail -n 30 $$log; exit 1; }; tail -n 1 $$log; done
	@echo "fuzz the control API of a daemon for $(FUZZ_SECONDS) s"; $(PY) tests/fuzz/control_api.py $(FUZZ_SECONDS)

bench-cluster: compile    ## a sweep of 10,000 points on a Dask cluster next to the points alone (half an hour on two cores)
	@$(PY) -m benchmarks cluster

bench-docker: docker      ## as root: measure docker run through the proxy, and hosts with engines of their own
	@$(PY) -m benchmarks docker_run dind

bench-path: setup         ## every path of the overlay beside its peers (wireguard-go, nebula, tinc; as root installs them)
	@sh .ci/setup bench
	@$(PY) -m benchmarks path

bench-bpf: setup          ## as root: what BPF programs around the bridge would gain (Linux 6.6)
	@$(PY) -m benchmarks bpf

bench-tunnel: setup       ## the userspace tunnel under load: bulk, floods, 32 busy pairs, compiled and in Python
	@sh .ci/setup bench
	@sh .ci/setup compile
	@$(PY) -m overlay.runtime.rows.building >/dev/null
	@$(PY) -m benchmarks tunnel

bench-explore: setup      ## how many of twenty planted bugs lab explore finds within 200 runs each (an hour on one core)
	@$(PY) -m benchmarks explore

bench-scale: setup        ## as root: large labs next to Mininet and ip -batch, 1,000 hosts, 256 with the overlay
	@$(PY) -m benchmarks scale

bench-names: setup        ## names and addresses by the hundred thousand, next to dnsmasq (as root installs it; three to four minutes)
	@sh .ci/setup names
	@$(PY) -m benchmarks names

bench-report: setup       ## how long the report of a million tries takes, and how much memory
	@$(PY) -m benchmarks report

bench-links: setup        ## what impaired links achieve on real packets, asked against achieved
	@$(PY) -m benchmarks links

gallery: setup            ## make the README's picture again: the partition, as it is in its middle (needs chromium)
	@$(PY) -m lab.cli run scenarios/partition.yaml --backend sim
	@$(PY) -m lab.report.gallery reports/partition/latest --at 20 --height 1500

sessions: setup           ## eleven sessions by hand in standing labs, saved and replayed on real packets and in virtual time
	SESSIONS=all $(PY) -m pytest -q tests/system/test_saved_sessions_replay.py

schema: setup             ## write docs/scenario.schema.json and the table of steps in docs/scenarios.md again
	@$(PY) -m lab.cli schema > docs/scenario.schema.json
	@$(PY) -m lab.kinds.reference docs/scenarios.md
	@$(PY) -m lab.kinds.constants docs/constants.md
	@$(PY) -m lab.api.verbs > lab/api/verb_methods.pyi

man: setup                ## write the manual pages man/*.1 from the commands' definitions
	@$(PY) -m lab.cli.man

waiter:                   ## compile overlay/proxy/waiter.c again (needs gcc and gcc-aarch64-linux-gnu)
	@.ci/waiter

lock: setup               ## resolve requirements.lock again from pyproject.toml (needs uv on PATH)
	@uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-header --quiet --output-file requirements.lock
	@uv pip compile docs/site/requirements.in --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-header --quiet --output-file docs/site/requirements.txt
	@cd tests/clients && for name in requirements testcontainers; do uv pip compile $$name.in --universal \
		--python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet --output-file $$name.txt; done

clean:                    ## remove what the commands above made, reports excepted
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis dist
