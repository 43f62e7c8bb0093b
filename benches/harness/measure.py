"""Measuring in turns, and keeping what was measured."""
import json
import os
import statistics
import time

from . import CACHE


def in_turn(turn, ours, yardstick):
    """Both, once. Each goes first every other turn, so that what one leaves behind is not always charged to the other."""
    if turn % 2 == 0:
        beside = yardstick()
        return ours(), beside
    return ours(), yardstick()


def spread(values, form=None):
    """The median, the least and the greatest."""
    form = form or number
    return f"{form(statistics.median(values))} ({form(min(values))} to {form(max(values))})"


def number(value):
    """In four places or so: of a thousand files a second as of their milliseconds."""
    digits = 0 if value >= 1000 else 1 if value >= 100 else 3
    return f"{value:,.{digits}f}"


def keep(name, key, measured):
    """Puts `measured` in the place of what had the same `key` in target/bench/NAME; what else was measured there stays. All of it."""
    path = CACHE / name
    kept = json.loads(path.read_text()) if path.exists() else []
    measured = {**measured, "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "load": os.getloadavg()[0]}
    kept = [other for other in kept if other.get(key) != measured[key]] + [measured]
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(kept, indent=1))
    partial.rename(path)
    return kept
