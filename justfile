# Each recipe is one line that works without just, too. `just --list` shows them.

# the fast tests, under a minute on two quiet cores: no Docker, sshd, HAProxy, Terraform or whole deploy is in them
test *ARGS:
    .venv/bin/pytest -n 2 -m "not slow and not nightly" {{ARGS}}

# everything, as CI runs it (servers, SSH, Docker where they are)
all:
    .venv/bin/pytest -n 2

# what the gate cannot pay for: a share of the torture, infrastructure renewed under load, a hostile API
nightly:
    .venv/bin/pytest -n 2 -m nightly

# what a machine can say about the code
check:
    .venv/bin/ruff check . && .venv/bin/ruff format --check . && .venv/bin/mypy && .venv/bin/lint-imports

fix:
    .venv/bin/ruff check --fix . && .venv/bin/ruff format .

# the demo: a real blue-green deploy under load
demo *ARGS:
    .venv/bin/celadon demo {{ARGS}}

# seeded worlds: `just simulate --seeds 0 1000`, `just simulate --seed 42 --trace`, `just simulate --wide 200000 --out FILE`
simulate *ARGS:
    .venv/bin/python -m tests.simulation.run {{ARGS}}

# every benchmark in turn, and the table docs/benchmarks.md: `just bench --only start`, `just bench --requests 1000000`
bench *ARGS:
    .venv/bin/python -m benchmarks.run {{ARGS}}

# safety taken away piece by piece must be noticed: `just mutants`, `just mutants --hunt 400`
mutants *ARGS:
    .venv/bin/python -m tests.simulation.mutants {{ARGS}}

# crashes, faults, bad releases and servers, each under load: `just torture --list`, `just torture --only ssh-cut api-429`
torture *ARGS:
    .venv/bin/python -m tests.torture.run {{ARGS}}

# Celadon and what people use instead, one table: `just scoreboard`, `just scoreboard --only celadon --figures F1 F3`
scoreboard *ARGS:
    .venv/bin/python -m benchmarks.scoreboard.run {{ARGS}}

# the smallest world, every interleaving: a quarter of a minute
small-model *WISHES:
    .venv/bin/python -m tests.simulation.small_model {{WISHES}}

# the generated pages of docs/ (a test fails when they are stale)
docs:
    .venv/bin/python scripts/reference.py
