"""The rows of the benchmark: each with its yardstick, in turns."""
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import CACHE, data, yardsticks
from .service import Service, drop

VALIDATE = """
[[rule.pipeline]]
step = "validate"
on = ["main"]
to = "invalid"
columns = {{ {columns} }}
"""
AMOUNT = 'amount = { type = "decimal" }'
ALL_COLUMNS = ", ".join([
    'id = { type = "integer", min = 0 }', 'account = { type = "string", matches = "^AC[0-9]{10}$" }',
    'name = { type = "string", length_max = 40 }', AMOUNT, 'currency = { type = "string", one_of = ["USD", "EUR"] }',
    'date = { type = "date" }', 'status = { type = "string", one_of = ["ACTIVE", "CLOSED", "PENDING", "HOLD"] }',
    'note = { type = "string", length_min = 1 }'])
ROUTE_AND_SELECT = """
[[rule.pipeline]]
step = "route"
on = ["main"]
when = [{ if = { column = "status", equals = "CLOSED" }, to = "closed" }]
else = "main"

[[rule.pipeline]]
step = "select"
on = ["main", "closed"]
columns = ["id", "account", "amount", "date"]
"""
FILTER_ALL = """
[[rule.pipeline]]
step = "filter"
on = ["main"]
drop = { length_below = 1000000 }
"""


def config(pipeline=None, categories=("main", "invalid"), form="csv", suffix=".csv", decode="", service="", marker=True, pattern="in/*"):
    """The standard rule: payments, `amount` validated, archived."""
    if pipeline is None:
        pipeline = VALIDATE.format(columns=AMOUNT)
    outputs = "".join(f'[rule.output.{name}]\npath = "out/{{stem}}.{name}{suffix}"\n' for name in categories)
    publish = '[rule.publish]\nmarker = "out/{stem}.done"\n' if marker else ""
    return f"""config_version = 1

[service]
data_dir = "data"
{service}

[[rule]]
name = "payments"
paths = ["{pattern}"]

[rule.decode]
{decode}

[rule.records]
format = "{form}"
{pipeline}
{outputs}
{publish}
[rule.source]
on_success = "archive"
archive_dir = "archive"
"""


class Bench:
    """What all rows need: sizes, yardsticks, a folder for the runs."""

    def __init__(self, records, files, programs, folder):
        self.records, self.files, self.programs, self.folder = records, files, programs, folder

    def one_file(self, path, rule, check=None):
        """One file through a service; seconds and peak memory."""
        with Service(self.folder, rule) as service:
            staged = service.home / "staged"
            shutil.copyfile(path, staged)
            os.sync()
            seconds = drop(service, staged, path.name)
            peak = service.peak_mb()
            account(service.jobs())
            if check:
                check(service.home)
        return seconds, peak

    def row_1(self):
        return self.one_file(data.gzip(self.records), config())


def account(jobs):
    """A benchmark that loses records measures nothing."""
    for job in jobs:
        out = sum(job["records_out"].values()) + job["records_dropped"] + job["records_failed"]
        if job["state"] != "completed" or job["records_in"] != out:
            raise SystemExit(f"the account is wrong: {job}")


class Row:
    """A row: `ours` and `yardstick` are run in turns; the ratio of their medians is held against the target."""

    name = target = ""
    at_most = None
    at_least = None
    yardstick_name = ""

    def __init__(self, bench):
        self.bench = bench

    def ratio(self, ours, yardstick):
        return ours / yardstick


class Gzip(Row):
    name, yardstick_name, at_most = "1 gzip", "inflating alone", 1.5

    def ours(self):
        return self.bench.one_file(data.gzip(self.bench.records), config(), self.equals_mawk)

    def yardstick(self):
        return yardsticks.inflate(self.bench.programs["inflate"], data.gzip(self.bench.records))

    def equals_mawk(self, home):
        """Once: byte for byte what `gzip -dc | mawk` makes of it."""
        if getattr(self.bench, "is_compared", False):
            return
        self.bench.is_compared = True
        _, theirs = yardsticks.mawk(data.gzip(self.bench.records), "cat", home)
        for name, their in zip(("main", "invalid"), theirs):
            if subprocess.run(["cmp", home / "out" / f"payments-{self.bench.records}.{name}.csv", their]).returncode:
                raise SystemExit(f"{name} is not what mawk makes of it")


class Plain(Row):
    name, yardstick_name, at_most = "2 uncompressed", "cp and sync", 3.0

    def ours(self):
        return self.bench.one_file(data.plain(self.bench.records), config())

    def yardstick(self):
        return yardsticks.copy_and_sync(data.plain(self.bench.records))


class Lines(Row):
    """In records a second, in millions: there is no yardstick but the number."""

    name, yardstick_name, at_least = "2 lines, no step (M records/s)", "1 M records/s", 10.0

    def ours(self):
        return self.bench.one_file(data.plain(self.bench.records), config("", ["main"], "lines"))

    def yardstick(self):
        return self.bench.records / 1e6

    def ratio(self, ours, yardstick):
        return yardstick / ours


class GzipOut(Row):
    name, yardstick_name, at_least = "3 gzip in and out", "mawk into two pigz -p 2 -6", 1.7

    def ours(self):
        return self.bench.one_file(data.gzip(self.bench.records), config(suffix=".csv.gz"))

    def yardstick(self):
        with tempfile.TemporaryDirectory(prefix="mawk-", dir=CACHE) as home:
            return yardsticks.mawk(data.gzip(self.bench.records), "pigz -p 2 -6", Path(home))[0]

    def ratio(self, ours, yardstick):
        return yardstick / ours


class Beside1(Row):
    """Another file or rule beside row 1, which is run in turns with it."""

    yardstick_name = "row 1"

    def yardstick(self):
        return self.bench.row_1()[0]


class Age(Beside1):
    name, at_most = "4 age and gzip", 1.15

    def ours(self):
        return self.bench.one_file(data.age(self.bench.records), config(decode=f'identities = ["{data.age_key()}"]'))


class Zip(Beside1):
    name, at_most = "4 zip", 1.1

    def ours(self):
        return self.bench.one_file(data.zip_archive(self.bench.records), config())


class Zstd(Row):
    name, yardstick_name, at_most = "4 zstd", "zstd -dc", 2.0

    def ours(self):
        return self.bench.one_file(data.zstd(self.bench.records), config())

    def yardstick(self):
        return yardsticks.inflate_zstd(data.zstd(self.bench.records))


class SmallFiles(Row):
    name, yardstick_name, at_most = "5 small files", "bare loop", 2.0
    times = 1

    def count(self):
        return self.bench.files * self.times

    def ours(self):
        count = self.count()
        with Service(self.bench.folder, config(marker=False)) as service:
            staged = service.home / "staged"
            data.small_files(staged, count)
            os.sync()
            started = time.perf_counter()
            for entry in os.listdir(staged):
                os.rename(staged / entry, service.home / "in" / entry)
            service.wait(lambda: service.count("archive") >= count, 0.05)
            seconds = time.perf_counter() - started
            if service.count("out") != count:
                raise SystemExit(f"{service.count('out')} outputs of {count} files")
            return seconds / count, service.peak_mb()

    def yardstick(self):
        count = self.count()
        with tempfile.TemporaryDirectory(prefix="staged-", dir=CACHE) as folder:
            data.small_files(Path(folder) / "files", count)
            return yardsticks.bare_loop(self.bench.programs["bare_loop"], Path(folder) / "files") / count


class ManySmallFiles(SmallFiles):
    name, yardstick_name, at_most, times = "5 five times as many", "row 5", 1.25, 5

    def yardstick(self):
        return SmallFiles(self.bench).ours()[0]


class Latency(Row):
    """The median of many files moved into an idle service, in milliseconds."""

    name, yardstick_name, at_most = "6 latency (ms)", "1 ms", 10.0
    files = 100
    p99_ms = idle_percent = 0.0

    def ours(self):
        path = data.gzip(1000)
        with Service(self.bench.folder, config()) as service:
            seconds = sorted(self.one(service, path, number) for number in range(self.files))
            before, begun = service.processor_seconds(), time.perf_counter()
            time.sleep(10)
            idle = (service.processor_seconds() - before) / (time.perf_counter() - begun) * 100
            self.p99_ms = max(self.p99_ms, seconds[int(len(seconds) * 0.99) - 1] * 1000)
            self.idle_percent = max(self.idle_percent, idle)
            return statistics.median(seconds) * 1000, service.peak_mb()

    def one(self, service, path, number):
        staged = service.home / "staged"
        shutil.copyfile(path, staged)
        output = service.home / "out" / f"small-{number}.main.csv"
        time.sleep(0.05)
        started = time.perf_counter()
        os.rename(staged, service.home / "in" / f"small-{number}.csv.gz")
        while not output.exists():
            if time.perf_counter() - started > 30:
                raise SystemExit(f"{output} does not appear")
            time.sleep(0.0002)
        return time.perf_counter() - started

    def yardstick(self):
        return 1.0


class TwoCores(Row):
    """Records a second on both cores, against what two services on a core each reach at once."""

    name, yardstick_name, at_least = "8 two cores", "two runs on a core each", 0.9

    def rule(self, workers):
        pipeline = VALIDATE.format(columns=ALL_COLUMNS) + ROUTE_AND_SELECT
        return config(pipeline, ("main", "closed", "invalid"), service=f"workers = {workers}")

    def ours(self):
        return self.bench.one_file(data.gzip(self.bench.records), self.rule(2))

    def yardstick(self):
        """Half of the time in which each of two does the whole file: two files in that time."""
        path = data.gzip(self.bench.records)
        with Service(self.bench.folder, self.rule(1), "0") as one, Service(self.bench.folder, self.rule(1), "1") as other:
            for service in (one, other):
                shutil.copyfile(path, service.home / "staged")
            os.sync()
            with ThreadPoolExecutor(2) as pool:
                seconds = list(pool.map(lambda service: drop(service, service.home / "staged", path.name), (one, other)))
        return 1 / sum(1 / taken for taken in seconds)

    def ratio(self, ours, yardstick):
        return yardstick / ours


class ValidateAll(Beside1):
    name, at_least = "9 all columns validated", 0.6

    def ours(self):
        return self.bench.one_file(data.gzip(self.bench.records), config(VALIDATE.format(columns=ALL_COLUMNS)))

    def ratio(self, ours, yardstick):
        return yardstick / ours


class ThroughSled(Beside1):
    name, at_most = "10 least memory", 2.0

    def ours(self):
        return self.bench.one_file(data.gzip(self.bench.records), config(service='memory_max = "1MiB"'))


class Expands(Row):
    """Once: a source that expands to a hundred times its block, filtered away."""

    name, yardstick_name, at_most = "7 expands to 100 GB", "inflating alone", 3.0
    gigabytes = 100

    def ours(self):
        rule = config(FILTER_ALL, ["main"], "lines", decode="ratio_max = 1000000")
        return self.bench.one_file(data.expanding(self.gigabytes), rule)

    def yardstick(self):
        return yardsticks.inflate(self.bench.programs["inflate"], data.expanding(self.gigabytes))


ROWS = [Gzip, Plain, Lines, GzipOut, Age, Zip, Zstd, SmallFiles, ManySmallFiles, Latency, TwoCores, ValidateAll, ThroughSled]
LARGE = [Expands]
MEMORY_MAX_MB = 256
