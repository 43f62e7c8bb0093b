"""Charts as SVG, written by hand: lines with their points, axes, ticks, a legend."""
import math
from html import escape

WIDTH, HEIGHT = 640, 360
LEFT, RIGHT, TOP, BOTTOM = 72, 20, 66, 52
INSET = 14  # no point lies on an axis
# Okabe and Ito's, which the colour-blind can tell apart; each with a point of its own for print.
COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7"]
POINTS = [
    '<circle cx="{x}" cy="{y}" r="4"/>',
    '<path d="M{x} {y}m-4 -4h8v8h-8z"/>',
    '<path d="M{x} {y}m0 -5l5 5l-5 5l-5 -5z"/>',
    '<path d="M{x} {y}m0 -5l5 9h-10z"/>',
]
INK, GREY, GRID = "#222", "#555", "#ddd"


class Axis:
    """Where values lie between two pixels, and which of them are marked."""

    def __init__(self, values, start, end, log, ticks=None):
        self.log = log
        self.ticks = ticks or (log_ticks(values) if log else even_ticks(values))
        low, high = min([*values, *self.ticks]), max([*values, *self.ticks])
        self.low, self.high = self.scaled(low), self.scaled(high)
        if self.low == self.high:
            self.low, self.high = self.low - 1, self.high + 1
        self.start, self.end = start, end

    def scaled(self, value):
        return math.log10(value) if self.log else value

    def at(self, value):
        share = (self.scaled(value) - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)


def even_ticks(values):
    """From 0, in steps of 1, 2 or 5, up to past the greatest."""
    top = max(values) or 1
    power = 10 ** math.floor(math.log10(top / 4))
    step = next(step * power for step in (1, 2, 5, 10) if step * power >= top / 5)
    return [round(count * step, 10) for count in range(math.ceil(round(top / step, 6)) + 1)]


def log_ticks(values):
    """Powers of ten, with 2 and 5 between them where there are few, from below the least to above the greatest."""
    first, last = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    factors = (1, 2, 5) if last - first <= 2 else (1,)
    every = [factor * 10.0**power for power in range(first, last + 1) for factor in factors]
    below = [tick for tick in every if tick <= min(values)]
    above = [tick for tick in every if tick >= max(values)]
    return [tick for tick in every if below[-1] <= tick <= above[0]]


def label(value):
    if value >= 1e6:
        return f"{value / 1e6:g} M"
    return f"{value:,.0f}" if value >= 1000 else f"{value:g}"


def curves(path, title, x_label, y_label, series, log_x=False, log_y=False):
    """Writes the chart of `series`, each (name, [(x, y), …]), to `path`. Along a logarithmic x the measured places are marked."""
    xs = sorted({x for _, points in series for x, _ in points})
    across = Axis(xs, LEFT + INSET, WIDTH - RIGHT - INSET, log_x, xs if log_x else None)
    upwards = Axis([y for _, points in series for _, y in points], HEIGHT - BOTTOM, TOP, log_y)
    parts = [*frame(title, x_label, y_label), *grid(across, upwards), *legend([name for name, _ in series])]
    for number, (_, points) in enumerate(series):
        colour, point = COLOURS[number % len(COLOURS)], POINTS[number % len(POINTS)]
        places = [(across.at(x), upwards.at(y)) for x, y in sorted(points)]
        line = " ".join(f"{x},{y}" for x, y in places)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(f'<g fill="{colour}">' + "".join(point.format(x=x, y=y) for x, y in places) + "</g>")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*parts, "</svg>", ""]))


def frame(title, x_label, y_label):
    """A white ground of its own, so that it can be read on a dark page too."""
    middle_x, middle_y = (LEFT + WIDTH - RIGHT) / 2, (TOP + HEIGHT - BOTTOM) / 2
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img" '
        f'font-family="system-ui, sans-serif" font-size="12" fill="{GREY}">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f'<text x="{LEFT}" y="24" font-size="15" font-weight="600" fill="{INK}">{escape(title)}</text>',
        f'<text x="{middle_x}" y="{HEIGHT - 12}" text-anchor="middle">{escape(x_label)}</text>',
        f'<text transform="translate(18 {middle_y}) rotate(-90)" text-anchor="middle">{escape(y_label)}</text>',
    ]


def grid(across, upwards):
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    parts = []
    for tick in upwards.ticks:
        y = upwards.at(tick)
        parts.append(f'<path d="M{LEFT} {y}H{right}" stroke="{GRID}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{label(tick)}</text>')
    for tick in across.ticks:
        x = across.at(tick)
        parts.append(f'<path d="M{x} {bottom}v5" stroke="{GREY}"/>')
        parts.append(f'<text x="{x}" y="{bottom + 18}" text-anchor="middle">{label(tick)}</text>')
    return [*parts, f'<path d="M{LEFT} {TOP}V{bottom}H{right}" fill="none" stroke="{GREY}"/>']


def legend(names):
    parts, x = [], LEFT + 4
    for number, name in enumerate(names):
        colour, point = COLOURS[number % len(COLOURS)], POINTS[number % len(POINTS)]
        parts.append(f'<g fill="{colour}" stroke="{colour}" stroke-width="2"><path d="M{x} 44h24"/>' + point.format(x=x + 12, y=44) + "</g>")
        parts.append(f'<text x="{x + 32}" y="48" fill="{INK}">{escape(name)}</text>')
        x += 60 + 6.5 * len(name)
    return parts
