#!/usr/bin/env bash
# Installs Debian packages that only some commands need: install-package.sh PACKAGE...
set -euo pipefail

printf 'install: %s\n' "$*"
as_root=()
[ "$(id -u)" -eq 0 ] || as_root=(sudo)
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -q >/dev/null
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@" >/dev/null
