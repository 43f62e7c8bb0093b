"""A running service in a folder of its own."""
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from datetime import datetime
from pathlib import Path

from . import ROOT

LANDFALL = ROOT / "target" / "release" / "landfall"
PATIENCE_SECONDS = 1800
SETTLE_SECONDS = 1.0
# ext4 passes over inodes that were removed in the last minutes, one by one, each time it makes a file: to remove many would slow all that is
# measured after it. They go with the folder of all runs.
MANY_FILES = 500
# One scan of every folder is in it: `scan_every` by default.
IDLE_SECONDS = 30.0


class Service:
    """The release build on `config`, up and idle once it is entered; ended, and its folder removed, when it is left.

    Where the benchmark breaks off it is killed: to stop with many jobs in hand takes time, and nobody waits for the account.
    """

    def __init__(self, folder, config, cores=None, folders=("in",)):
        self.home = Path(tempfile.mkdtemp(prefix="service-", dir=folder))
        (self.home / "landfall.toml").write_text(config)
        for name in folders:
            (self.home / name).mkdir(parents=True)
        # It ends with us, whatever ends us.
        self.command = ["setpriv", "--pdeathsig", "KILL", LANDFALL, "run"]
        if cores is not None:
            self.command = ["taskset", "-c", cores, *self.command]

    def __enter__(self):
        # What earlier runs left to be written must not be charged to this one.
        os.sync()
        begun = time.perf_counter()
        with open(self.home / "log", "wb") as log:
            self.process = subprocess.Popen(self.command, cwd=self.home, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            self.wait(lambda: b"watching" in (self.home / "log").read_bytes())
        except BaseException as trouble:
            self.__exit__(trouble)
            raise
        self.start_seconds = time.perf_counter() - begun
        # The first scan, and what the start left to be written.
        time.sleep(SETTLE_SECONDS)
        return self

    def __exit__(self, trouble=None, *_):
        try:
            if trouble is None:
                self.process.send_signal(signal.SIGTERM)
                self.process.wait(60)
        finally:
            self.process.kill()
            self.process.wait()
            if self.count("archive") < MANY_FILES:
                shutil.rmtree(self.home)

    def wait(self, done, pause=lambda: 0.002):
        """Until `done()`; the seconds since it was asked for."""
        started = time.perf_counter()
        while not done():
            waited = time.perf_counter() - started
            if self.process.poll() is not None or waited > PATIENCE_SECONDS:
                log = (self.home / "log").read_text()[-4000:]
                raise SystemExit(f"landfall did not come to an end in {self.home}:\n{log}")
            time.sleep(pause())
        return time.perf_counter() - started

    def count(self, name):
        """Files in one of its folders, hidden ones not counted."""
        try:
            return sum(not entry.startswith(".") for entry in os.listdir(self.home / name))
        except FileNotFoundError:
            return 0

    def peak_mb(self):
        """The kernel's own high-water mark of resident memory."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
        return 0.0

    def idle_percent(self):
        """Of one core, while nothing is to be done."""
        time.sleep(SETTLE_SECONDS)
        before, begun = self.processor_seconds(), time.perf_counter()
        time.sleep(IDLE_SECONDS)
        return (self.processor_seconds() - before) / (time.perf_counter() - begun) * 100

    def processor_seconds(self):
        """Of all its threads, in nanoseconds' precision: the process's own clock, numbered as in clock_getcpuclockid(3)."""
        return time.clock_gettime(~self.process.pid << 3 | 2)

    def finished(self, count, records):
        """The moment, of `time.time`, at which the last of `count` jobs of `records` each was done, its archive folder synced.

        A benchmark that loses records measures nothing: each account is held against what went in.
        """
        jobs = []

        def all_ended():
            # A source is seen in the archive before the folder is synced, and its job ends after that.
            jobs[:] = self.jobs()
            return all(job["finished_at"] for job in jobs)
        self.wait(all_ended, lambda: 0.05)
        if len(jobs) != count:
            raise SystemExit(f"{len(jobs)} jobs of {count} files")
        for job in jobs:
            out = sum(job["records_out"].values()) + job["records_dropped"] + job["records_failed"]
            if job["state"] != "completed" or not job["records_in"] == out == records:
                raise SystemExit(f"the account is wrong, {records} records went in: {job}")
        return max(datetime.fromisoformat(job["finished_at"]).timestamp() for job in jobs)

    def jobs(self):
        """What `landfall jobs` says of all of them."""
        asked = subprocess.run([LANDFALL, "jobs", "--json"], cwd=self.home, check=True, stdout=subprocess.PIPE)
        return json.loads(asked.stdout)["jobs"]
