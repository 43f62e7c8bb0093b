#!/bin/bash
# Sets a Debian 12 machine up to build for Windows and to run the result under Wine. Idempotent; needs root the first time.
#
# What comes out: $WINCROSS (default /opt/wincross) with env.sh (to be sourced) and a Wine prefix, and the standard library for
# x86_64-pc-windows-gnu where Debian's rustc looks for it. rustup, where present, is left alone: env.sh only leaves it out of PATH.
set -euo pipefail

readonly TARGET=x86_64-pc-windows-gnu
readonly PACKAGES=(rustc-web cargo-web rust-web-src rust-web-clippy gcc-mingw-w64-x86-64-posix wine64)
WINCROSS=${WINCROSS:-/opt/wincross}

fail() {
    echo "tests/windows/setup.sh: $*" >&2
    exit 1
}

missing_packages() {
    local package
    for package in "${PACKAGES[@]}"; do
        dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || echo "$package"
    done
}

install_packages() {
    local missing
    missing=$(missing_packages | tr '\n' ' ')
    [ -z "$missing" ] && return
    [ "$(id -u)" = 0 ] || fail "these Debian packages are missing; install them as root: $missing"
    echo "installing $missing"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq </dev/null
    # shellcheck disable=SC2086 # the names are words
    apt-get install -y -qq --no-install-recommends $missing </dev/null >/dev/null
}

write_environment() {
    mkdir -p "$WINCROSS"
    cat >"$WINCROSS/env.sh" <<END
# Source this in a subshell to build for Windows: it replaces PATH.
export WINCROSS=$WINCROSS
export PATH=/usr/lib/wine:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export CARGO=/usr/bin/cargo RUSTC=/usr/bin/rustc RUSTDOC=/usr/bin/rustdoc
unset RUSTUP_TOOLCHAIN RUSTC_WRAPPER DISPLAY
export CARGO_BUILD_TARGET=$TARGET
export CARGO_TARGET_X86_64_PC_WINDOWS_GNU_LINKER=x86_64-w64-mingw32-gcc-posix
export CARGO_TARGET_X86_64_PC_WINDOWS_GNU_RUNNER=wine64
export CC_x86_64_pc_windows_gnu=x86_64-w64-mingw32-gcc-posix AR_x86_64_pc_windows_gnu=x86_64-w64-mingw32-ar
export WINEPREFIX=$WINCROSS/prefix WINEARCH=win64 WINEDEBUG=-all WINEDLLOVERRIDES="mscoree,mshtml="
END
}

# Debian ships the standard library's source but not its build for Windows. It goes where rustc looks, so that the project
# itself is built by a plain stable `cargo build`: with -Zbuild-std it would be built again in every target folder. The stamp
# makes an update of Debian's rustc build it anew.
build_standard_library() {
    local lib=/usr/lib/rustlib/$TARGET/lib build
    [ "$(cat "$lib/.stamp" 2>/dev/null)" = "$("$RUSTC" -vV)" ] && return
    [ "$(id -u)" = 0 ] || fail "the standard library for $TARGET has to be built into $lib; run this once as root"
    echo "building the standard library for $TARGET"
    build=$(mktemp -d)
    (
        cd /
        env -u CARGO_BUILD_TARGET RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR="$build" \
            RUSTFLAGS="-Zforce-unstable-if-unmarked -Cembed-bitcode=yes" \
            "$CARGO" build -q --release --locked --target "$TARGET" \
            --manifest-path /usr/lib/rustlib/src/rust/library/sysroot/Cargo.toml --features panic-unwind,backtrace
    )
    rm -rf "$lib"
    mkdir -p "$lib"
    cp "$build/$TARGET"/release/deps/*.rlib "$lib/"
    "$RUSTC" -vV >"$lib/.stamp"
    rm -rf "$build"
}

# Wine 8 lacks bcryptprimitives.dll, from which Rust's standard library takes its random numbers.
make_prefix() {
    local dll=$WINEPREFIX/drive_c/windows/system32/bcryptprimitives.dll
    if [ ! -e "$WINEPREFIX/system.reg" ]; then
        echo "making the Wine prefix $WINEPREFIX"
        wine64 wineboot -i </dev/null >/dev/null 2>&1
    fi
    [ -e "$dll" ] && [ "$(stat -c %s "$dll")" -gt 4096 ] && [ -e "$WINCROSS/bcryptprimitives.c" ] && return
    cat >"$WINCROSS/bcryptprimitives.c" <<'END'
#include <windows.h>
BOOLEAN NTAPI SystemFunction036(PVOID, ULONG); /* RtlGenRandom */
__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE bytes, SIZE_T left)
{
    while (left) {
        ULONG part = left > 0x10000000u ? 0x10000000u : (ULONG)left;
        if (!SystemFunction036(bytes, part)) return FALSE;
        bytes += part;
        left -= part;
    }
    return TRUE;
}
END
    x86_64-w64-mingw32-gcc-posix -O2 -shared -s -o "$dll" "$WINCROSS/bcryptprimitives.c" -ladvapi32
}

install_packages
write_environment
# shellcheck source=/dev/null
. "$WINCROSS/env.sh"
build_standard_library
make_prefix
echo "ready to build for $TARGET: . $WINCROSS/env.sh"
