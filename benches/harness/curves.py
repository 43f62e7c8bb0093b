"""How it grows: time with the size of a file, the rate with the number of files, rate and latency with that of rules and of watched folders."""
import statistics
import sys

from . import data, plot
from .bench import drop_all, latencies, moved_in
from .measure import in_turn, spread
from .rules import config, rule
from .service import Service

# The least that gives a median and a spread: the whole takes most of an hour.
RUNS_MAX = 3
PLACES = [1, 10, 100, 1000]
DROPS = 50


class Curve:
    """`measure` is run some times at each of `places`, which lie along x; `unit` by measure says what its figures are."""

    name = x_label = ""

    def __init__(self, bench):
        self.bench = bench

    def measured(self, runs):
        """Run by run over all places, so that what slows the machine for a while does not bend the curve at one of them."""
        points = {x: {} for x in self.places()}
        for turn in range(min(runs, RUNS_MAX)):
            for x, figures in points.items():
                print(f"curve {self.name}, run {turn + 1}: {x:,} {self.x_label}", file=sys.stderr, flush=True)
                for figure, value in self.measure(x, turn).items():
                    figures.setdefault(figure, []).append(value)
        return {"curve": self.name, "x": self.x_label, "points": [{"x": x, **figures} for x, figures in points.items()]}


class Size(Curve):
    name, x_label = "size", "records"

    def places(self):
        return [self.bench.records * tenths // 10 for tenths in (1, 3, 10, 30)]

    def measure(self, records, turn):
        path = data.gzip(records)
        (seconds, peak), alone = in_turn(turn, lambda: self.bench.one_file(path, config(), records), lambda: self.bench.inflate(path))
        return {"Landfall (s)": seconds, "inflating alone (s)": alone, "ratio": seconds / alone, "peak (MB)": peak}


class Files(Curve):
    name, x_label = "files", "files at once"

    def places(self):
        return [max(1, self.bench.files * twentieths // 20) for twentieths in (1, 5, 20, 100)]

    def measure(self, count, turn):
        (seconds, peak), alone = in_turn(turn, lambda: self.bench.small_files(count), lambda: self.bench.bare_loop(count))
        return {"Landfall (files/s)": count / seconds, "bare loop (files/s)": count / alone, "ratio": seconds / alone, "peak (MB)": peak}


class Spread(Curve):
    """Small files spread over many watched places: at once, then one by one into the idle service, then none."""

    def places(self):
        return PLACES

    def measure(self, count, _turn):
        toml, folders, prefixes = self.layout(count)
        with Service(self.bench.folder, toml, folders=folders) as service:
            places = [service.home / prefix for prefix in prefixes]
            files = max(50, self.bench.files // 10)
            # The first file of a folder makes its claim folder, once and for good.
            first, _ = self.drop_over(service, places, "first", min(files, count))
            seconds, peak = self.drop_over(service, places, "many", files)
            singles = ((named(places, number, "single"), f"{named(places, number, 'single').stem}.main.csv", data.small(number).encode())
                       for number in range(DROPS))
            taken = sorted(latencies(service, singles, moved_in))
            idle = service.idle_percent()
            service.finished(min(files, count) + files + DROPS, data.SMALL_RECORDS)
            return {"files/s": files / seconds, "latency (ms)": taken[DROPS // 2], "idle (% of a core)": idle, "start (s)": service.start_seconds,
                    "first of each, at once (s)": first, "peak (MB)": peak}

    def drop_over(self, service, places, word, count):
        staged = service.home / word
        data.small_files(staged, count, str)
        return drop_all(service, {staged / str(number): named(places, number, word) for number in range(count)})


def named(places, number, word):
    """The file's path: the places take turns, and are the beginnings of names."""
    place = places[number % len(places)]
    return place.with_name(f"{place.name}{word}-{number}.csv")


class Rules(Spread):
    """Each with a pattern of its own, all in one folder."""

    name, x_label = "rules", "rules"

    def layout(self, count):
        every = (rule(f"rule-{number}", f"in/of-{number}-*", marker=False) for number in range(count))
        return config(*every), ["in"], [f"in/of-{number}-" for number in range(count)]


class Folders(Spread):
    """One rule, with a wildcard for the folder."""

    name, x_label = "folders", "watched folders"

    def layout(self, count):
        folders = [f"in/sender-{number}" for number in range(count)]
        return config(rule(pattern="in/*/*", marker=False)), folders, [f"{folder}/from-{number}-" for number, folder in enumerate(folders)]


CURVES = [Size, Files, Rules, Folders]

# File, title, y, and what is drawn: the curve, its figure, its name in the legend. All along a logarithmic x.
CHARTS = [
    ("size", "Time against size: gzip, 85 bytes a record", "records", "seconds", True,
     [("size", "Landfall (s)", "Landfall, until all is synced"), ("size", "inflating alone (s)", "inflating alone")]),
    ("files", "Small files at once", "files", "files a second", False,
     [("files", "Landfall (files/s)", "Landfall"), ("files", "bare loop (files/s)", "bare loop")]),
    ("rate", "Rate of small files against rules and watched folders", "rules or folders", "files a second", False,
     [("rules", "files/s", "rules"), ("folders", "files/s", "watched folders")]),
    ("latency", "One file into an idle service: median until published", "rules or folders", "milliseconds", False,
     [("rules", "latency (ms)", "rules"), ("folders", "latency (ms)", "watched folders")]),
    ("idle", "Idle processor time against rules and watched folders", "rules or folders", "% of a core", False,
     [("rules", "idle (% of a core)", "rules"), ("folders", "idle (% of a core)", "watched folders")]),
]


def table(curve):
    figures = [figure for figure in curve["points"][0] if figure != "x"]
    lines = [f"| {curve['x']} | " + " | ".join(figures) + " |", "|---|" + "---|" * len(figures)]
    for point in curve["points"]:
        lines.append(f"| {point['x']:,} | " + " | ".join(spread(point[figure]) for figure in figures) + " |")
    return "\n".join(lines)


def draw(kept, folder):
    """Every chart whose curves have all been measured; the medians."""
    points = {curve["curve"]: curve["points"] for curve in kept}
    for file, title, x_label, y_label, log_y, lines in CHARTS:
        if all(curve in points for curve, _, _ in lines):
            series = [(name, [(point["x"], statistics.median(point[figure])) for point in points[curve]]) for curve, figure, name in lines]
            plot.curves(folder / f"{file}.svg", title, x_label, y_label, series, log_x=True, log_y=log_y)
