#!/usr/bin/env bash
# Installs what the build and the tests need beyond a Rust toolchain, and only what is missing.
set -euo pipefail

say() { printf 'install: %s\n' "$*"; }

missing=()
need() { # need PACKAGE COMMAND...: the package is missing if the command fails
  local package=$1
  shift
  "$@" >/dev/null 2>&1 || missing+=("$package")
}

# bindgen loads libclang while RocksDB's bindings are made, and needs the compiler's own headers beside it.
has_libclang() {
  if [ -n "${LIBCLANG_PATH:-}" ]; then
    compgen -G "$LIBCLANG_PATH/libclang*.so*"
  else
    compgen -G '/usr/lib/llvm-*/lib/libclang*.so*' && compgen -G '/usr/lib/llvm-*/lib/clang/*/include/stddef.h'
  fi
}

need g++ command -v c++
need gcc command -v cc
need make command -v make
need ccache command -v ccache # RocksDB takes minutes to compile; the compiler cache makes that once per machine
need clang command -v clang++ # compiles RocksDB in three quarters of gcc's time
need libclang-dev has_libclang
need python3 command -v python3
need python3-venv python3 -c 'import ensurepip, venv'
need curl command -v curl # the examples of README, docs and runbook, which the tests run, ask with it
need ca-certificates test -e /etc/ssl/certs/ca-certificates.crt

if [ ${#missing[@]} -eq 0 ]; then
  say "system packages: nothing missing"
else
  say "system packages missing: ${missing[*]}"
  if ! command -v apt-get >/dev/null; then
    say "no apt-get here; install the equivalents of these packages and try again" >&2
    exit 1
  fi
  as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { say "not root and no sudo; run: apt-get install ${missing[*]}" >&2; exit 1; }
    as_root=(sudo)
  fi
  log=$(mktemp)
  trap 'rm -f "$log"' EXIT
  apt() {
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q "$@" >"$log" 2>&1 </dev/null || {
      cat "$log" >&2
      say "apt-get $* failed" >&2
      exit 1
    }
  }
  say "apt-get update"
  apt update
  say "apt-get install ${missing[*]}"
  apt install --yes --no-install-recommends "${missing[@]}"
  say "system packages: installed"
fi

if ! command -v cargo >/dev/null; then
  say "no cargo on PATH; install Rust from https://rustup.rs (rust-toolchain.toml names the version)" >&2
  exit 1
fi
# With rustup this also fetches the pinned toolchain where it is not there yet.
say "toolchain: $(cargo --version)"
