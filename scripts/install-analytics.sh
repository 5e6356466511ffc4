#!/bin/sh
# A Python environment in examples/analytics/.venv, with what its requirements.txt names.
set -eu
cd "$(dirname "$0")/../examples/analytics"

say() {
    echo "install-analytics: $*" >&2
}

installed=.venv/installed
if [ -e "$installed" ] && [ ! requirements.txt -nt "$installed" ]; then
    exit 0
fi

make_venv() {
    python3 -m venv .venv >/dev/null 2>&1
}

# Debian keeps a part of it in a package of its own.
if ! make_venv && [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null 2>&1; then
    apt-get update -q
    DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends python3-venv
    make_venv || true
fi
if [ ! -x .venv/bin/pip ]; then
    say "install Python 3.11 or later with venv (Debian: apt-get install python3-venv)"
    exit 1
fi
.venv/bin/pip install --quiet --disable-pip-version-check --requirement requirements.txt
touch "$installed"
