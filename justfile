# Daily commands; `just` alone lists them. Each line also works by hand.
set positional-arguments
bin := ".venv/bin"

# list the commands
default:
    @just --list

# make the environment from the hashed locks
setup:
    make env-test

# repair what can be repaired: imports, simple lint, format
fix:
    {{bin}}/ruff check --fix-only --quiet src tests benchmarks
    {{bin}}/ruff format src tests benchmarks

# under a minute: format, lint, import contracts; types and unit tests of what changed
quick:
    {{bin}}/python tests/gate.py --quick

# the whole gate, as CI runs it
test:
    make test

# the main job on loopback, told in plain words
demo *ARGS:
    make demo ARGS="{{ARGS}}"

# list the benchmarks, or run one: just bench vitals
bench *ARGS:
    {{bin}}/python benchmarks/run.py {{ARGS}}

# renew both lock files from pyproject.toml, with a cooldown of a week on new releases
lock:
    {{bin}}/python requirements/relock.py
