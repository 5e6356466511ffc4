#!/bin/sh
# Installs nats-server with the system's package manager, unless it is there: tests, `make split` and
# the bench run one of their own. None of the system's is started or needed.
set -eu
. "$(dirname "$0")/lib.sh"

found() {
    command -v "${BANYAN_NATS_SERVER:-nats-server}" >/dev/null 2>&1
}

if found; then
    exit 0
fi

if [ -n "${BANYAN_NATS_SERVER:-}" ]; then
    say "BANYAN_NATS_SERVER is $BANYAN_NATS_SERVER, which is no program: correct or unset it"
    exit 1
elif command -v apt-get >/dev/null 2>&1; then
    apt_install nats-server
elif command -v brew >/dev/null 2>&1; then
    brew install nats-server
else
    say "no package manager that is known here: install nats-server 2.9 or later, and set BANYAN_NATS_SERVER to it if it is not on the PATH"
    exit 1
fi

if ! found; then
    say "the package holds no nats-server: install version 2.9 or later and set BANYAN_NATS_SERVER to it"
    exit 1
fi
