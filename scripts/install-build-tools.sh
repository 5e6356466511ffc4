#!/bin/sh
# What a build needs on a machine that has nothing yet: a C compiler (for aws-lc, the one piece of C)
# and Rust.
set -eu
. "$(dirname "$0")/lib.sh"

if ! command -v cc >/dev/null 2>&1; then
    if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null 2>&1; then
        apt_install gcc libc6-dev
    else
        say "install a C compiler (Debian: apt-get install gcc libc6-dev; Fedora: dnf install gcc; Alpine: apk add gcc musl-dev; macOS: xcode-select --install)"
        exit 1
    fi
fi

if ! command -v cargo >/dev/null 2>&1; then
    say "install Rust 1.95 or later: https://rustup.rs"
    exit 1
fi
