# What the install scripts share: to be read in by them (`. "$(dirname "$0")/lib.sh"`).

say() {
    echo "$(basename "$0" .sh): $*" >&2
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

# Of Debian's packages, with their lists brought up to date. Those that are servers are not started: nobody
# asked for one on the usual port.
apt_install() {
    as_root apt-get update -q
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod 755 "$policy"
        trap 'as_root rm -f "$policy"' EXIT
    fi
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "$@"
}
