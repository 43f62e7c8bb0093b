"""What the benchmarks share: the data, the service under test, the yardsticks beside it, the rows and the curves."""
import contextlib
import fcntl
import shutil
import signal
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
CACHE = ROOT / "target" / "bench"


@contextlib.contextmanager
def runs_folder():
    """A folder for what runs write, on the disk of the data; gone afterwards, also where the benchmark is broken off.

    One benchmark at a time: two would measure each other. So what lies there at the start is of one that was killed.
    """
    CACHE.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))
    with open(CACHE / "lock", "wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit("another benchmark is running here")
        folder = CACHE / "runs"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder)
