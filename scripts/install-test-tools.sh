#!/bin/sh
# What tests talk to: a real SMTP server (Python's aiosmtpd), openssl for its certificate, and
# examples/analytics.
set -eu
. "$(dirname "$0")/lib.sh"

"$(dirname "$0")/install-analytics.sh"

python=${BANYAN_TEST_PYTHON:-/usr/bin/python3}

found() {
    command -v openssl >/dev/null 2>&1 && "$python" -c 'import aiosmtpd' >/dev/null 2>&1
}

if found; then
    exit 0
fi

if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null 2>&1; then
    apt_install openssl python3-aiosmtpd
fi

if ! found; then
    say "install openssl, and aiosmtpd for $python (Debian: apt-get install openssl python3-aiosmtpd); BANYAN_TEST_PYTHON names another python"
    exit 1
fi
