#!/bin/sh
# Installs the system packages of one layer: `system-packages.sh demo|test`.
# As root they come by apt-get; otherwise the missing ones are named with the line that installs them.
set -eu

# what container packages are built, run and asked with
containers="buildah:buildah podman:podman runc:runc curl:curl nsenter:util-linux"

# what C++ wrappers are built with
cpp="g++:g++ cmake:cmake make:make /usr/include/stb/stb_image.h:libstb-dev /usr/include/nlohmann/json.hpp:nlohmann-json3-dev"

# what Kotlin wrappers are built and run with, and what fetches their compiler
kotlin="javac:openjdk-17-jdk-headless gcc:gcc npm:npm"

case "${1:-}" in
    demo) required="bwrap:bubblewrap setpriv:util-linux"; wanted="" ;;
    test) required="bwrap:bubblewrap setpriv:util-linux"; wanted="docker-compose:docker-compose strace:strace $containers $cpp $kotlin" ;;
    *) echo "usage: $0 demo|test" >&2; exit 2 ;;
esac

# of pairs of a command or a file and the package that brings it, the packages that are not there
missing_of() {
    for pair in $1; do
        command -v "${pair%%:*}" >/dev/null 2>&1 || [ -e "${pair%%:*}" ] || printf '%s ' "${pair##*:}"
    done
}

install() {
    export DEBIAN_FRONTEND=noninteractive
    # shellcheck disable=SC2086
    apt-get update -qq >/dev/null && apt-get install -y -qq --no-install-recommends $1 >/dev/null
}

missing=$(missing_of "$required")
optional=$(missing_of "$wanted")
if [ -z "$missing$optional" ]; then
    echo "system packages: all there"
    exit 0
fi
if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null 2>&1; then
    if install "$missing$optional"; then
        echo "system packages: installed $missing$optional"
        exit 0
    fi
    missing=$(missing_of "$required")
fi
if [ -n "$optional" ]; then
    echo "system packages: not available: $optional(the tests that need them are skipped, each by its name)"
    echo "  install with: sudo apt-get install -y --no-install-recommends $optional"
fi
if [ -n "$missing" ]; then
    echo "system packages: missing $missing" >&2
    echo "  install with: sudo apt-get install -y --no-install-recommends $missing" >&2
    exit 1
fi
