"""What the service is measured beside."""
import json
import os
import subprocess
import tempfile
import time

from . import ROOT

MAWK = 'NR == 1 { print | main; print | invalid; next } $4 ~ /^[-+]?[0-9]+(\\.[0-9]+)?$/ { print | main; next } { print | invalid }'


def build(benches=("inflate", "bare_loop")):
    """Builds the service and these programs; the paths of these."""
    subprocess.run(["cargo", "build", "--release", "--locked", "--bin", "landfall"], cwd=ROOT, check=True)
    named = [word for name in benches for word in ("--bench", name)]
    built = subprocess.run(["cargo", "bench", "--locked", *named, "--no-run", "--message-format=json"],
                           cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    messages = (json.loads(line) for line in built.splitlines() if line.startswith("{"))
    return {m["target"]["name"]: m["executable"] for m in messages if m.get("executable")}


def timed(command, **options):
    os.sync()
    started = time.perf_counter()
    subprocess.run(command, check=True, **options)
    return time.perf_counter() - started


def warm(path):
    """Brings a file into the system's cache, where both sides find it: the disk is not what is compared."""
    with open(path, "rb") as file:
        while file.read(1 << 20):
            pass


def inflate(program, path):
    """zlib-rs to nowhere, one thread."""
    warm(path)
    os.sync()
    return float(subprocess.run([program, path], check=True, stdout=subprocess.PIPE, text=True).stdout.split()[0])


def inflate_zstd(path):
    warm(path)
    return timed(["zstd", "-dqc", path], stdout=subprocess.DEVNULL)


def copy_and_sync(path, folder):
    warm(path)
    with tempfile.TemporaryDirectory(prefix="copy-", dir=folder) as copies:
        return timed(["bash", "-c", 'cp "$1" "$2/copy" && sync', "-", path, copies])


def mawk(path, pack, home):
    """`gzip -dc | mawk` into two files, through `pack`; not synced."""
    warm(path)
    outputs = [home / "main", home / "invalid"]
    main, invalid = (f"{pack} > {output}" for output in outputs)
    script = 'set -o pipefail; gzip -dc "$1" | mawk -F, -v main="$2" -v invalid="$3" "$4"'
    return timed(["bash", "-c", script, "-", path, main, invalid, MAWK]), outputs


def bare_loop(program, folder):
    """Read, write, fsync, rename, rename: one thread, the files in `in`."""
    os.sync()
    return float(subprocess.run([program, folder], check=True, stdout=subprocess.PIPE, text=True).stdout.split()[0])
