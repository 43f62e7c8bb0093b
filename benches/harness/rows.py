"""The rows of the benchmark: each with its yardstick, in turns."""
import statistics
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import data, rules, yardsticks
from .bench import drop, latencies, moved_in, stage_copy, written_and_closed
from .measure import in_turn
from .rules import config, rule
from .service import Service

# What the median of the runs stays below, and no run's memory reaches.
LIMITS = {"peak_mb": 256.0, "p99_ms": 50.0, "idle_percent": 1.0}


class Row:
    """A row: `ours` gives its value and what else was measured; `yardstick`, run in turns with it, its value.

    The median of the ratios, each of one turn, is held against the target: what slows the machine for a while slows both sides of a turn.
    """

    name = yardstick_name = ""
    at_most = None
    at_least = None

    def __init__(self, bench):
        self.bench = bench

    def one_file(self, path, *rules, records=None, check=None, cores=None, service=""):
        seconds, peak = self.bench.one_file(path, config(*rules, service=service), records, check, cores)
        return seconds, {"peak_mb": peak}

    def ratio(self, ours, yardstick):
        return ours / yardstick

    def measure(self, runs):
        ours, beside, others = [], [], {}
        for turn in range(runs):
            (value, more), yardstick = in_turn(turn, self.ours, self.yardstick)
            ours.append(value)
            beside.append(yardstick)
            for name, other in more.items():
                others.setdefault(name, []).append(other)
        ratios = [self.ratio(*pair) for pair in zip(ours, beside)]
        return {
            "row": self.name, "beside": self.yardstick_name, "ours": ours, "yardstick": beside, "ratios": ratios,
            "ratio": statistics.median(ratios), **others,
            "target": f"<= {self.at_most}" if self.at_most is not None else f">= {self.at_least}",
            "met": self.is_met(statistics.median(ratios)) and all(within(name, values) for name, values in others.items()),
        }

    def is_met(self, ratio):
        return ratio <= self.at_most if self.at_most is not None else ratio >= self.at_least


def within(name, values):
    return (max(values) if name == "peak_mb" else statistics.median(values)) < LIMITS[name]


class Gzip(Row):
    name, yardstick_name, at_most = "1 gzip", "inflating alone", 1.5
    is_compared = False

    def ours(self):
        return self.one_file(data.gzip(self.bench.records), check=self.equals_mawk)

    def yardstick(self):
        return self.bench.inflate(data.gzip(self.bench.records))

    def equals_mawk(self, home):
        """Once: byte for byte what `gzip -dc | mawk` makes of it."""
        if self.is_compared:
            return
        self.is_compared = True
        _, theirs = yardsticks.mawk(data.gzip(self.bench.records), "cat", home)
        for name, their in zip(("main", "invalid"), theirs):
            if subprocess.run(["cmp", home / "out" / f"payments-{self.bench.records}.{name}.csv", their]).returncode:
                raise SystemExit(f"{name} is not what mawk makes of it")


class Plain(Row):
    name, yardstick_name, at_most = "2 uncompressed", "cp and sync", 3.0

    def ours(self):
        return self.one_file(data.plain(self.bench.records))

    def yardstick(self):
        return yardsticks.copy_and_sync(data.plain(self.bench.records), self.bench.folder)


class Lines(Row):
    """The ratio is in millions of records a second: there is no yardstick but the number."""

    name, yardstick_name, at_least = "2 lines, no step (ratio: M records/s)", "1 M records/s", 10.0

    def ours(self):
        # To `lines` the header is a record too.
        lines = rule(pipeline="", categories=["main"], form="lines")
        return self.one_file(data.plain(self.bench.records), lines, records=self.bench.records + 1)

    def yardstick(self):
        return self.bench.records / 1e6

    def ratio(self, ours, yardstick):
        return yardstick / ours


class GzipOut(Row):
    name, yardstick_name, at_least = "3 gzip in and out", "mawk into two pigz -p 2 -6", 1.7

    def ours(self):
        return self.one_file(data.gzip(self.bench.records), rule(suffix=".csv.gz"))

    def yardstick(self):
        with tempfile.TemporaryDirectory(prefix="mawk-", dir=self.bench.folder) as home:
            return yardsticks.mawk(data.gzip(self.bench.records), "pigz -p 2 -6", Path(home))[0]

    def ratio(self, ours, yardstick):
        return yardstick / ours


class Beside1(Row):
    """Another file or rule beside row 1, which is run in turns with it."""

    yardstick_name = "row 1"

    def yardstick(self):
        return self.one_file(data.gzip(self.bench.records))[0]


class Age(Beside1):
    name, at_most = "4 age and gzip", 1.15

    def ours(self):
        return self.one_file(data.age(self.bench.records), rule(decode=f'identities = ["{data.age_key()}"]'))


class AtRest(Beside1):
    name, at_most = "11 gzip, encrypted at rest", 1.3

    def ours(self):
        return self.one_file(data.gzip(self.bench.records), service="at_rest = { encrypt = true }")


class Zip(Beside1):
    name, at_most = "4 zip", 1.1

    def ours(self):
        return self.one_file(data.zip_archive(self.bench.records))


class Zstd(Row):
    name, yardstick_name, at_most = "4 zstd", "zstd -dc", 2.0

    def ours(self):
        return self.one_file(data.zstd(self.bench.records))

    def yardstick(self):
        return yardsticks.inflate_zstd(data.zstd(self.bench.records))


class SmallFiles(Row):
    """Milliseconds for each of many files that come at once."""

    name, yardstick_name, at_most = "5 small files (ms each)", "bare loop", 2.0
    times = 1

    def ours(self):
        count = self.bench.files * self.times
        seconds, peak = self.bench.small_files(count)
        return seconds / count * 1000, {"peak_mb": peak}

    def yardstick(self):
        return self.bench.bare_loop(self.bench.files) / self.bench.files * 1000


class ManySmallFiles(SmallFiles):
    name, yardstick_name, at_most, times = "5 five times as many (ms each)", "row 5", 1.25, 5

    def yardstick(self):
        return SmallFiles(self.bench).ours()[0]


class Latency(Row):
    """The median of many files that come one by one into an idle service, until their marker is there, in milliseconds."""

    yardstick_name, at_most = "1 ms", 10.0
    drops = 200

    def ours(self):
        content = self.content(1000).read_bytes()
        with Service(self.bench.folder, config()) as service:
            files = ((service.home / "in" / f"small-{number}{self.suffix}", f"small-{number}.done", content) for number in range(self.drops))
            taken = sorted(latencies(service, files, self.put))
            idle, peak = service.idle_percent(), service.peak_mb()
            service.finished(self.drops, 1000)
        p99 = taken[-(-len(taken) * 99 // 100) - 1]
        return statistics.median(taken), {"peak_mb": peak, "p99_ms": p99, "idle_percent": idle}

    def yardstick(self):
        return 1.0


class GzipLatency(Latency):
    name, suffix = "6 gzip written and closed (ms)", ".csv.gz"
    put, content = staticmethod(written_and_closed), staticmethod(data.gzip)


class MovedInLatency(Latency):
    name, suffix = "6 plain file moved in (ms)", ".csv"
    put, content = staticmethod(moved_in), staticmethod(data.plain)


class BesideHangingRules(Row):
    """The slowest of 100 files but one that come one by one, in milliseconds, while the children of other rules answer nothing and the files of
    one more are large."""

    name, yardstick_name, at_most = "7 small files beside hanging rules, p99 (ms)", "1 ms", 1000.0
    drops, hanging, files_of_each, large = 100, 5, 30, 3

    def ours(self):
        exec_hangs = '[[rule.pipeline]]\nstep = "exec"\non = ["main"]\ncommand = ["sleep", "3600"]\ntimeout = "1h"\n'
        others = [f"hangs-{number}" for number in range(self.hanging)]
        hanging = [rule(name, f"{name}/*", pipeline=exec_hangs, categories=("main",)) for name in others]
        large = rule("large", "large/*")
        content = data.plain(1000).read_bytes()
        with Service(self.bench.folder, config(rule(), large, *hanging), folders=("in", "large", *others)) as service:
            def await_running(*names):
                service.wait(lambda: {job["rule"] for job in service.jobs() if job["state"] == "running"} >= set(names), lambda: 0.1)

            for folder in others:
                for number in range(self.files_of_each):
                    (service.home / folder / f"{folder}-{number}.csv").write_bytes(content)
            await_running(*others)
            for number in range(self.large):
                stage_copy(service, data.gzip(self.bench.records))
                (service.home / "staged").rename(service.home / "large" / f"large-{number}.csv.gz")
            await_running("large")
            files = ((service.home / "in" / f"small-{number}.csv", f"small-{number}.done", content) for number in range(self.drops))
            taken = sorted(latencies(service, files, moved_in))
            return taken[-2], {"peak_mb": service.peak_mb()}

    def yardstick(self):
        return 1.0


class TwoCores(Row):
    """Records a second on both cores, against what two services on a core each reach at once."""

    name, yardstick_name, at_least = "8 two cores", "two runs on a core each", 0.9
    busy = rule(pipeline=rules.VALIDATE.format(columns=rules.ALL_COLUMNS) + rules.ROUTE_AND_SELECT, categories=("main", "closed", "invalid"))

    def ours(self):
        return self.one_file(data.gzip(self.bench.records), self.busy, service="workers = 2", cores="0,1")

    def yardstick(self):
        """The seconds for one file where each of two does a whole one, and their rates are added."""
        path = data.gzip(self.bench.records)
        alone = config(self.busy, service="workers = 1")
        with Service(self.bench.folder, alone, "0") as one, Service(self.bench.folder, alone, "1") as other:
            for service in (one, other):
                stage_copy(service, path)
            with ThreadPoolExecutor(2) as pool:
                seconds = list(pool.map(lambda service: drop(service, path.name, self.bench.records), (one, other)))
        return 1 / sum(1 / taken for taken in seconds)

    def ratio(self, ours, yardstick):
        return yardstick / ours


class ValidateAll(Beside1):
    name, at_least = "9 all columns validated", 0.6

    def ours(self):
        return self.one_file(data.gzip(self.bench.records), rule(pipeline=rules.VALIDATE.format(columns=rules.ALL_COLUMNS)))

    def ratio(self, ours, yardstick):
        return yardstick / ours


class LeastMemory(Beside1):
    """Slices go to the disk only where the work does not get on: here none need to."""

    name, at_most = "10 memory_max at its least", 2.0

    def ours(self):
        return self.one_file(data.gzip(self.bench.records), service='memory_max = "1MiB"')


class Expands(Row):
    """Once: a source that expands to many times its size, filtered away."""

    name, yardstick_name, at_most = "7 expands to 100 GB", "inflating alone", 3.0
    gigabytes = 100

    def ours(self):
        filtered = rule(pipeline=rules.FILTER_ALL, categories=["main"], form="lines")
        return self.one_file(data.expanding(self.gigabytes), filtered, records=data.expanding_records(self.gigabytes))

    def yardstick(self):
        return self.bench.inflate(data.expanding(self.gigabytes))


ROWS = [Gzip, Plain, Lines, GzipOut, Age, AtRest, Zip, Zstd, SmallFiles, ManySmallFiles, GzipLatency, MovedInLatency,
        BesideHangingRules, TwoCores, ValidateAll, LeastMemory]
LARGE = [Expands]
