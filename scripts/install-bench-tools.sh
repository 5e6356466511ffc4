#!/bin/sh
# Installs nginx with the system's package manager, unless it is there: the bench holds the edge
# against it, with a configuration of its own. None of the system's is started or needed.
set -eu
. "$(dirname "$0")/lib.sh"

# Debian keeps it where only root's PATH leads.
found() {
    PATH="$PATH:/usr/sbin" command -v "${BANYAN_NGINX:-nginx}" >/dev/null 2>&1
}

if found; then
    exit 0
fi

if [ -n "${BANYAN_NGINX:-}" ]; then
    say "BANYAN_NGINX is $BANYAN_NGINX, which is no program: correct or unset it"
    exit 1
elif command -v apt-get >/dev/null 2>&1; then
    apt_install nginx
elif command -v dnf >/dev/null 2>&1; then
    as_root dnf install -y nginx
elif command -v apk >/dev/null 2>&1; then
    as_root apk add nginx
elif command -v brew >/dev/null 2>&1; then
    brew install nginx
else
    say "no package manager that is known here: install nginx, and set BANYAN_NGINX to it if it is not on the PATH"
    exit 1
fi

if ! found; then
    say "the package holds no nginx: install it and set BANYAN_NGINX to it"
    exit 1
fi
