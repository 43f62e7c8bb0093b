"""What the benchmarks share: the data, the service under test, the yardsticks beside it."""
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
CACHE = ROOT / "target" / "bench"
