"""A running service in a folder of its own."""
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from . import ROOT

LANDFALL = ROOT / "target" / "release" / "landfall"
PATIENCE_SECONDS = 1800


class Service:
    """The release build on `config`, up and idle once it is entered; ended, and its folder removed, when it is left."""

    def __init__(self, folder, config, cores=None):
        self.home = Path(tempfile.mkdtemp(prefix="service-", dir=folder))
        (self.home / "landfall.toml").write_text(config)
        self.cores = cores

    def __enter__(self):
        (self.home / "in").mkdir(exist_ok=True)
        # What earlier runs left to be written must not be charged to this one.
        os.sync()
        command = [LANDFALL, "run"]
        if self.cores is not None:
            command = ["taskset", "-c", self.cores, *command]
        with open(self.home / "log", "wb") as log:
            self.process = subprocess.Popen(command, cwd=self.home, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        time.sleep(1.0)
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(60)
        shutil.rmtree(self.home)

    def wait(self, done, pause=0.002):
        """Until `done()`; the seconds since it was asked for."""
        started = time.perf_counter()
        while not done():
            waited = time.perf_counter() - started
            if self.process.poll() is not None or waited > PATIENCE_SECONDS:
                log = (self.home / "log").read_text()[-4000:]
                raise SystemExit(f"landfall did not come to an end in {self.home}:\n{log}")
            time.sleep(pause)
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

    def processor_seconds(self):
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def jobs(self):
        """What `landfall jobs` says of all of them."""
        asked = subprocess.run([LANDFALL, "jobs", "--json"], cwd=self.home, check=True, stdout=subprocess.PIPE)
        return json.loads(asked.stdout)["jobs"]

    def ended_jobs(self):
        """The same once all have come to their ends: a source lies in the archive a moment before its job's row says so."""
        self.wait(lambda: all(job["state"] == "completed" for job in self.jobs()), 0.05)
        return self.jobs()


def drop(service, staged, name):
    """Moves one file in; the seconds until it is published and archived."""
    archived, marker = service.home / "archive" / name, service.home / "out" / (name.split(".")[0] + ".done")
    os.rename(staged, service.home / "in" / name)
    return service.wait(lambda: marker.exists() and archived.exists())
