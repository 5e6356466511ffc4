#!/bin/sh
# Installs the Cargo commands that `make lint` calls, unless they are there. The versions are those
# whose findings the configuration (deny.toml) was written for.
set -eu

install() {
    name=$1
    version=$2
    if ! cargo "${name#cargo-}" --version 2>/dev/null | grep -qF "$version"; then
        cargo install --locked "$name" --version "$version"
    fi
}

install cargo-deny 0.20.2
install cargo-machete 0.9.2
