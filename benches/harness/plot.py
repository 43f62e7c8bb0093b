"""Curves as a small SVG file."""
import math
from xml.sax.saxutils import escape

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 760, 420, 70, 50, 40, 250
COLOURS = ["#1b6ca8", "#c8553d", "#3a7d44", "#8e5572", "#d9a404", "#555555"]


def curves(path, title, x_label, y_label, series, log_x=False, log_y=False):
    """`series`: a list of (name, [(x, y), ...])."""
    points = [point for _, of_series in series for point in of_series]
    across = scale([x for x, _ in points], log_x, LEFT, WIDTH - RIGHT)
    up = scale([y for _, y in points] + ([] if log_y else [0.0]), log_y, HEIGHT - BOTTOM, TOP)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" font-size="12">',
             '<rect width="100%" height="100%" fill="white"/>',
             text(LEFT, 22, title, "start", 15),
             text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, x_label), text(LEFT, TOP - 4, y_label, "start")]
    for x in sorted({x for x, _ in points}) if log_x else ticks([x for x, _ in points]):
        parts.append(text(across(x), HEIGHT - BOTTOM + 16, f"{x:g}"))
    for y in ticks([y for _, y in points]):
        if y or not log_y:
            parts.append(f'<path d="M{LEFT} {up(y):.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
            parts.append(text(LEFT - 6, up(y) + 4, f"{y:g}", "end"))
    for number, (name, of_series) in enumerate(series):
        colour = COLOURS[number % len(COLOURS)]
        line = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in of_series)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(f'<path d="M{WIDTH - RIGHT + 12} {TOP + 8 + 18 * number}h18" stroke="{colour}" stroke-width="2"/>')
        parts.append(text(WIDTH - RIGHT + 36, TOP + 12 + 18 * number, name, "start"))
    path.write_text("\n".join([*parts, "</svg>\n"]))


def scale(values, is_log, start, end):
    place = math.log if is_log else float
    least, most = place(min(values)), place(max(values))
    return lambda value: start + (end - start) * (place(value) - least) / ((most - least) or 1)


def ticks(values):
    most = max(values)
    step = 10 ** math.floor(math.log10(most))
    step = step / 5 if most / step < 2 else step / 2 if most / step < 5 else step
    return [step * number for number in range(int(most / step) + 1)]


def text(x, y, words, anchor="middle", size=12):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">{escape(words)}</text>'
