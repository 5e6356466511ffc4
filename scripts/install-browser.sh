#!/bin/sh
# What tests of pages need: Chromium, a font, and axe-core, which looks for what keeps people from using
# a page. Both come from packages; axe-core lies in target/test-tools after.
set -eu
. "$(dirname "$0")/lib.sh"

root=$(cd "$(dirname "$0")/.." && pwd)
axe=$root/target/test-tools/axe.min.js
version=4.14.1

found() {
    command -v "${BANYAN_TEST_CHROMIUM:-chromium}" >/dev/null 2>&1
}

if ! found && command -v apt-get >/dev/null 2>&1; then
    apt_install chromium fonts-dejavu-core
fi
if ! found; then
    say "install chromium (Debian: apt-get install chromium); BANYAN_TEST_CHROMIUM names another"
    exit 1
fi

if [ ! -s "$axe" ]; then
    command -v npm >/dev/null 2>&1 || apt_install npm
    folder=$(mktemp -d)
    (cd "$folder" && npm pack --silent "axe-core@$version" >/dev/null && tar xzf axe-core-*.tgz)
    mkdir -p "$(dirname "$axe")"
    mv "$folder/package/axe.min.js" "$axe"
    rm -rf "$folder"
fi
