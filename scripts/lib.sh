# Shared by the scripts beside it: sourced, never run. Installs what is missing, announces steps, counts tests.
# shellcheck shell=bash

set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
TARGET=${CARGO_TARGET_DIR:-$ROOT/target}
SOFTHSM_MODULE=/usr/lib/softhsm/libsofthsm2.so
cd "$ROOT"

# say TEXT...: one line for people.
say() { printf '%s\n' "$*"; }

# fail TEXT...: the last line of a run that cannot go on; says what to do.
fail() {
    printf '\nStopped: %s\n' "$*" >&2
    exit 1
}

# as_root COMMAND...: runs it as root, through sudo if need be.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        fail "'$*' needs root: run this script as root, or install sudo"
    fi
}

# ensure_apt PACKAGE...: installs the Debian packages that are not there yet.
ensure_apt() {
    local package missing=()
    command -v dpkg-query >/dev/null || fail "this is no Debian system: install $* by hand and run again"
    for package in "$@"; do
        dpkg-query -W -f '${Status}\n' "$package" 2>/dev/null | grep -q '^install ok installed$' || missing+=("$package")
    done
    [ ${#missing[@]} = 0 ] && return
    say "Installing ${missing[*]}"
    as_root apt-get update -qq || fail "apt-get update failed: check that the package mirror can be reached"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null \
        || fail "could not install ${missing[*]}: try 'apt-get install ${missing[*]}' by hand"
}

# ensure_command COMMAND PACKAGE...: as ensure_apt, but whatever provides COMMAND is welcome.
ensure_command() {
    command -v "$1" >/dev/null || ensure_apt "${@:2}"
}

# What building and trying the daemon takes on a fresh machine that has only Rust.
ensure_build_tools() {
    command -v cargo >/dev/null || fail "cargo is not in PATH: install Rust $(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml) or newer"
    ensure_command cc gcc libc6-dev
    ensure_command curl curl
    ensure_command softhsm2-util softhsm2
    [ -e "$SOFTHSM_MODULE" ] || ensure_apt softhsm2
}

# ensure_python DIRECTORY FILE: a Python environment with the pinned packages of FILE.
ensure_python() {
    if [ -x "$1/bin/python" ] && cmp -s "$2" "$1/installed.txt"; then
        return
    fi
    ensure_command python3 python3 python3-venv
    rm -rf "$1"
    if ! python3 -m venv "$1" 2>/dev/null; then
        ensure_apt python3-venv
        rm -rf "$1"
        python3 -m venv "$1" || fail "python3 -m venv does not work: is python3-venv whole?"
    fi
    "$1/bin/pip" install --quiet --disable-pip-version-check --requirement "$2" \
        || fail "pip could not install $2: check that the package index can be reached"
    cp "$2" "$1/installed.txt"
}

# ensure_venv: the packages of tests/interop/requirements.txt under target/, in $VENV.
ensure_venv() {
    VENV=$TARGET/venv
    ensure_python "$VENV" tests/interop/requirements.txt
}

# ensure_kms_emulator: what plays AWS KMS in tests, under target/, where the tests look for it.
ensure_kms_emulator() {
    ensure_python "$TARGET/kms-venv" tests/kms/requirements.txt
}

# ensure_node: Node.js, and the pinned packages of tests/interop/package-lock.json under target/, in $NODE_DIR.
ensure_node() {
    local file wanted=(tests/interop/package.json tests/interop/package-lock.json tests/interop/{verify,recipient,selective}.mjs)
    NODE_DIR=$TARGET/node
    ensure_command node nodejs
    ensure_command npm npm
    mkdir -p "$NODE_DIR"
    if [ ! -d "$NODE_DIR/node_modules" ] || ! cmp -s "${wanted[1]}" "$NODE_DIR/package-lock.json"; then
        cp "${wanted[@]}" "$NODE_DIR"
        npm ci --prefix "$NODE_DIR" --silent --no-audit --no-fund --ignore-scripts \
            || fail "npm could not install tests/interop/package-lock.json: check that the registry can be reached"
    fi
    for file in "${wanted[@]}"; do cp "$file" "$NODE_DIR"; done
}

# ensure_chromium: a browser without a screen, for the page of `jwsd audit report`.
ensure_chromium() {
    ensure_command chromium chromium
}

# ensure_cargo_tool NAME VERSION: built once, under target/tools.
ensure_cargo_tool() {
    local have
    have=$("$TARGET/tools/bin/$1" --version 2>/dev/null || true)
    [ "${have##* }" = "$2" ] && return
    say "Building $1 $2 (once; takes some minutes)"
    cargo install --quiet --locked --debug --version "$2" --root "$TARGET/tools" "$1" \
        || fail "cargo install $1 failed: check that the crates registry can be reached"
}

# build_kryoptic DIR: Kryoptic's module in DIR. libcrypto comes first, from the sources that openssl-src packs: they lack
# what the flags of Kryoptic's own build ask for. Only the library is built, none of OpenSSL's programs.
build_kryoptic() {
    local manifest=$ROOT/tests/kryoptic/Cargo.toml sources
    ensure_command cc gcc libc6-dev
    ensure_command make make
    # Debian's smallest perl lacks the modules that OpenSSL's Configure wants; any libclang will do for bindgen.
    perl -MFindBin -MFile::Compare -MIPC::Cmd -e 1 2>/dev/null || ensure_apt perl
    compgen -G '/usr/lib/llvm-*/lib/libclang.so' >/dev/null || ensure_apt libclang-dev
    cargo fetch --locked --quiet --manifest-path "$manifest"
    sources=$(cargo metadata --locked --offline --format-version 1 --manifest-path "$manifest" \
        | grep -o '"manifest_path":"[^"]*/openssl-src-[^"]*/Cargo.toml"' | cut -d '"' -f 4)
    rm -rf "$1/openssl"
    cp -r "$(dirname "$sources")/openssl" "$1/openssl"
    (
        cd "$1/openssl" \
            && ./Configure no-shared no-module no-tests no-docs no-legacy no-apps no-comp no-zlib no-engine no-ssl3 no-dtls \
                no-quic no-deprecated no-atexit \
            && make -j 2 build_generated \
            && make -j 2 libcrypto.a
    ) >"$1/openssl.log" 2>&1 || fail "OpenSSL for Kryoptic did not build: see $1/openssl.log"
    KRYOPTIC_OPENSSL_SOURCES=$1/openssl CARGO_TARGET_DIR=$1/build \
        cargo build --release --locked --quiet --jobs 2 --manifest-path "$manifest"
    mv "$1/build/release/libkryoptic_pkcs11.so" "$1/"
    rm -rf "$1/build" "$1/openssl"
}

# ensure_kryoptic: a second real token for tests, with ML-DSA, built once under target/ from the crates registry;
# JWSD_TEST_KRYOPTIC names its module.
ensure_kryoptic() {
    local dir=$TARGET/kryoptic stamp
    export JWSD_TEST_KRYOPTIC=$dir/libkryoptic_pkcs11.so
    stamp=$(declare -f build_kryoptic; cat tests/kryoptic/{Cargo.toml,Cargo.lock,lib.rs})
    [ -e "$JWSD_TEST_KRYOPTIC" ] && [ "$stamp" = "$(cat "$dir/stamp" 2>/dev/null)" ] && return
    say 'Building Kryoptic, a PKCS#11 token for tests (once; takes some minutes)'
    mkdir -p "$dir"
    rm -f "$dir/stamp"
    build_kryoptic "$dir"
    printf '%s\n' "$stamp" >"$dir/stamp"
}

# ensure_litewitness: another implementation of C2SP's tlog-witness, built once under target/ where there is Go; its key is
# held by OpenSSH's agent.
ensure_litewitness() {
    local version=v0.6.1 dir=$TARGET/litewitness
    [ "$version" = "$(cat "$dir/stamp" 2>/dev/null)" ] && return
    ensure_command ssh-agent openssh-client
    if ! command -v go >/dev/null; then
        say 'No Go: litewitness is not built, and the test with it is skipped'
        return
    fi
    say 'Building litewitness, a witness for tests (once)'
    GOBIN=$dir/bin GOFLAGS=-p=2 go install "filippo.io/torchwood/cmd/litewitness@$version" \
        || fail 'go install litewitness failed: check that the Go module proxy can be reached'
    printf '%s\n' "$version" >"$dir/stamp"
}

STEP='' STEP_HELP='' STEP_STARTED=0

# step TITLE HELP: begins a step; if something in it fails, HELP is the sentence that says what to do.
step() {
    end_step
    STEP=$1 STEP_HELP=$2 STEP_STARTED=$SECONDS
    printf '\n== %s\n' "$STEP"
}

end_step() {
    [ -z "$STEP" ] || printf -- '-- %s: %d s\n' "$STEP" $((SECONDS - STEP_STARTED))
    STEP=''
}

# A script that leaves something behind defines `cleanup`.
on_exit() {
    local status=$?
    [ $status = 0 ] || [ -z "$STEP" ] || printf '\nFailed: %s. %s.\n' "$STEP" "$STEP_HELP" >&2
    if declare -F cleanup >/dev/null; then cleanup; fi
}
trap on_exit EXIT

# wait_for SECONDS COMMAND...: repeats COMMAND until it succeeds.
wait_for() {
    local until=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $until ] || return 1
        sleep 0.1
    done
}
