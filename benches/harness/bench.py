"""What rows and curves run: one file, many at once, one after another into an idle service."""
import os
import shutil
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

from . import data, rules, yardsticks
from .arrivals import Arrivals
from .service import Service

# Long enough for the service to be idle again.
BETWEEN_DROPS_SECONDS = 0.05


class Bench:
    """Sizes, yardsticks, a folder for the runs."""

    def __init__(self, records, files, programs, folder):
        self.records, self.files, self.programs, self.folder = records, files, programs, folder

    def one_file(self, path, config, records=None, check=None, cores=None):
        """One file through a service; seconds and peak memory."""
        with Service(self.folder, config, cores) as service:
            with staged(service, path):
                seconds = drop(service, path.name, self.records if records is None else records)
                if check:
                    check(service.home)
                return seconds, service.peak_mb()

    def inflate(self, path):
        return yardsticks.inflate(self.programs["inflate"], path)

    def small_files(self, count):
        """`count` files of ten records at once; seconds and peak memory."""
        with Service(self.folder, rules.config(rules.rule(marker=False))) as service:
            staged = service.home / "staged"
            data.small_files(staged, count)
            measured = drop_all(service, {staged / name: service.home / "in" / name for name in os.listdir(staged)})
            if service.count("out") != count:
                raise SystemExit(f"{service.count('out')} outputs of {count} files")
            return measured

    def bare_loop(self, count):
        """The same files through the bare loop."""
        folder = tempfile.mkdtemp(prefix="bare-", dir=self.folder)  # it stays, as the service's does
        data.small_files(Path(folder) / "in", count)
        return yardsticks.bare_loop(self.programs["bare_loop"], folder)


@contextmanager
def staged(service, path):
    """The file itself, beside the watched folder, and back in its place afterwards. A copy would leave the disk busy and evict what is to be
    read; of a file with a second name the service would archive a copy."""
    yardsticks.warm(path)
    os.rename(path, service.home / "staged")
    os.sync()
    try:
        yield
    finally:
        places = [service.home / "staged", service.home / "in" / path.name, service.home / "archive" / path.name]
        for place in filter(Path.exists, places):
            os.rename(place, path)


def stage_copy(service, path):
    """A copy beside the watched folder, on the disk: where two services take the same file at once."""
    shutil.copyfile(path, service.home / "staged")
    yardsticks.warm(service.home / "staged")
    os.sync()


def drop(service, name, records):
    """Moves the staged file in; the seconds until it is published, with its marker, and archived, all of it synced."""
    archived, marker = service.home / "archive" / name, service.home / "out" / (name.split(".")[0] + ".done")
    clock = time.time()
    os.rename(service.home / "staged", service.home / "in" / name)
    seen = service.wait(lambda: marker.exists() and archived.exists())
    return max(seen, service.finished(1, records) - clock)


def drop_all(service, moves):
    """Moves files in, one rename after another without a pause; the seconds until the last is published and archived, all of it synced, and
    the peak memory."""
    before = service.count("archive")
    os.sync()
    clock, started = time.time(), time.perf_counter()
    for staged, place in moves.items():
        os.rename(staged, place)

    def half_of_what_is_left():
        # To list a folder of many files again and again takes a good part of a core from what is measured.
        done, taken = service.count("archive") - before, time.perf_counter() - started
        return min(max(taken / max(done, 1) * (len(moves) - done) / 2, 0.01), 2)
    service.wait(lambda: service.count("archive") - before >= len(moves), half_of_what_is_left)
    peak = service.peak_mb()  # before the service is asked for a list of them all
    return service.finished(before + len(moves), data.SMALL_RECORDS) - clock, peak


def latencies(service, files, put):
    """Milliseconds until each of `files` (its place, its output's name, its content) is published; the service is idle when it comes."""
    taken = []
    out = service.home / "out"
    out.mkdir(exist_ok=True)  # the first output would make it
    with Arrivals(out) as arrivals:
        for place, output, content in files:
            started = put(service, place, content)
            taken.append((arrivals.wait(output) - started) * 1000)
    return taken


def moved_in(service, place, content):
    staged = service.home / "staged"
    staged.write_bytes(content)
    time.sleep(BETWEEN_DROPS_SECONDS)
    started = time.perf_counter()
    os.rename(staged, place)
    return started


def written_and_closed(_service, place, content):
    time.sleep(BETWEEN_DROPS_SECONDS)
    with open(place, "wb") as file:
        file.write(content)
        file.flush()
        started = time.perf_counter()
    return started
