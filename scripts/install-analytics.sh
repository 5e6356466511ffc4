#!/bin/sh
# A Python environment in examples/analytics/.venv, with what its requirements.txt names.
set -eu
. "$(dirname "$0")/lib.sh"
cd "$(dirname "$0")/../examples/analytics"

installed=.venv/installed
if [ -e "$installed" ] && [ ! requirements.txt -nt "$installed" ]; then
    exit 0
fi

make_venv() {
    python3 -m venv .venv >/dev/null 2>&1
}

# Debian keeps a part of it in a package of its own.
if ! make_venv && [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null 2>&1; then
    apt_install python3-venv
    make_venv || true
fi
if [ ! -x .venv/bin/pip ]; then
    say "install Python 3.11 or later with venv (Debian: apt-get install python3-venv)"
    exit 1
fi
.venv/bin/pip install --quiet --disable-pip-version-check --requirement requirements.txt
touch "$installed"
