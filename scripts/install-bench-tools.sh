#!/bin/sh
# Installs nginx with the system's package manager, unless it is there: the bench holds the edge
# against it, with a configuration of its own. None of the system's is started or needed.
set -eu

say() {
    echo "install-bench-tools: $*" >&2
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null 2>&1; then
        sudo "$@"
    else
        say "this takes root's rights: as root, run $*"
        exit 1
    fi
}

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
    as_root apt-get update -q
    # Debian would start one on port 80, which nobody asked for.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod 755 "$policy"
        trap 'as_root rm -f "$policy"' EXIT
    fi
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends nginx
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
