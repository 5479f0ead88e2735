#!/usr/bin/env bash
# Runs the core's tests on the oldest and on the newest protobuf that pyproject.toml allows. Each
# has a virtual environment of its own, made once. Arguments go to pytest.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# The core's tests are those that touch neither a loop nor a socket, a process or an adapter. Long
# simulations say nothing about protobuf.
impure='trio|asyncio|socket|ssl|subprocess|websockets|execserver_client|sansrelay_(trio|asyncio|apps)'
long='cut_net|fuzz|model_check|sansrelay\.testing\.world'
mapfile -t tests < <(grep -LE "^[[:space:]]*(import|from) +($impure|$long)( |\.|\$)" tests/test_*.py)
((${#tests[@]})) || { echo "no tests found" >&2; exit 1; }

run() {
    local venv=.venv-protobuf-$1 requirement=$2
    shift 2
    local python=$venv/bin/python done=$venv/.done
    if [[ ! -e $done || pyproject.toml -nt $done || tools/protobuf_range.sh -nt $done ]]; then
        "${PYTHON:-python3}" -m venv --clear "$venv"
        "$python" -m pip --disable-pip-version-check --quiet install -e '.[test]' "$requirement"
        touch "$done"
    fi
    "$python" -c 'import google.protobuf as p; print("protobuf", p.__version__)'
    "$python" -m pytest -q -p no:cacheprovider -n 2 --dist loadfile "${tests[@]}" "$@"
}

run low 'protobuf==6.31.1' "$@"
run high 'protobuf>=7,<8' "$@"
