#!/bin/sh
# Installs the PostgreSQL server's programs with the system's package manager, unless some are
# there: the embedded database runs them, tests and `cargo xtask prepare` use it. No server of the
# system's own is started or needed.
set -eu
. "$(dirname "$0")/lib.sh"

# The same places as crates/embedded/src/binaries.rs, which also checks the version.
found() {
    if [ -n "${BANYAN_POSTGRES_BIN:-}" ]; then
        [ -x "$BANYAN_POSTGRES_BIN/postgres" ] && [ -x "$BANYAN_POSTGRES_BIN/initdb" ]
        return
    fi
    command -v postgres >/dev/null 2>&1 && return 0
    for initdb in \
        "$(pg_config --bindir 2>/dev/null || true)/initdb" \
        /usr/lib/postgresql/*/bin/initdb /usr/pgsql-*/bin/initdb \
        /usr/libexec/postgresql*/initdb /usr/lib/postgresql*/bin/initdb \
        /opt/homebrew/opt/postgresql@*/bin/initdb /usr/local/opt/postgresql@*/bin/initdb \
        /home/linuxbrew/.linuxbrew/opt/postgresql@*/bin/initdb; do
        [ -x "$initdb" ] && return 0
    done
    return 1
}

if found; then
    exit 0
fi

if [ -n "${BANYAN_POSTGRES_BIN:-}" ]; then
    say "BANYAN_POSTGRES_BIN is $BANYAN_POSTGRES_BIN, which does not hold postgres and initdb: correct or unset it"
    exit 1
elif command -v apt-get >/dev/null 2>&1; then
    apt_install postgresql-common
    # Debian would make a cluster of its own, which nobody asked for.
    as_root sed -i 's/^#\{0,1\}create_main_cluster.*/create_main_cluster = false/' /etc/postgresql-common/createcluster.conf
    apt_install postgresql
elif command -v dnf >/dev/null 2>&1; then
    as_root dnf install -y postgresql-server
elif command -v apk >/dev/null 2>&1; then
    as_root apk add postgresql postgresql-client
elif command -v brew >/dev/null 2>&1; then
    brew install postgresql@17
else
    say "no package manager that is known here: install PostgreSQL 15 or later (the programs postgres and initdb) and set BANYAN_POSTGRES_BIN to their folder"
    exit 1
fi

if ! found; then
    say "the package holds no PostgreSQL server: install version 15 or later and set BANYAN_POSTGRES_BIN to the folder with postgres and initdb"
    exit 1
fi
