"""A running service with files of every kind, for the dashboard to show."""

import json
import os
import pathlib
import re
import signal
import subprocess
import time
import urllib.request

CONFIGURATION = """
config_version = 1

[service]
data_dir = "data"
listen   = "127.0.0.1:0"
audit    = true
workers  = 2
free_min = "1MiB"

[throttle.mainframe]
records_per_second = 800

# Good and invalid records, drops and failures.
[[rule]]
name  = "payments"
paths = ["in/payments/{sender}/*.csv"]
ready = { linger = "0s", stable_for = "200ms" }
records = { format = "csv", slice_records = 500 }
errors = { failed_max = "50%" }
[[rule.pipeline]]
step    = "validate"
columns = { amount = { type = "decimal" }, id = { type = "integer" } }
[[rule.pipeline]]
step = "filter"
drop = { column = "kind", equals = "test" }
[[rule.pipeline]]
step = "exec"
command = ["python3", "./look"]
protocol = "jsonl"
confine = false
[rule.output.main]
path = "out/{rule}/{sender}/{stem}.csv"
[rule.output.invalid]
path = "out/{rule}/{sender}/{stem}.invalid.csv"
annotate = true
max = "90%"
[rule.source]
on_success  = "archive"
archive_dir = "archive/{rule}"

# So many that a list of them has pages.
[[rule]]
name  = "small"
paths = ["in/small/*.txt"]
ready = { linger = "0s", stable_for = "200ms" }
[rule.output.main]
path = "out/{rule}/{stem}.txt"
[rule.source]
on_success  = "archive"
archive_dir = "archive/{rule}"

# One that takes its time.
[[rule]]
name  = "ledger"
paths = ["in/ledger/*.txt"]
throttle = "mainframe"
ready = { linger = "0s", stable_for = "200ms" }
records = { slice_records = 500 }
[rule.output.main]
path = "out/{rule}/{stem}.txt"
[rule.source]
on_success  = "archive"
archive_dir = "archive/{rule}"

# Whose records wait for a word.
[[rule]]
name  = "orders"
paths = ["in/orders/*.jsonl"]
ready = { linger = "0s", stable_for = "200ms" }
records = { format = "jsonl" }
errors = { on_record_error = "hold", failed_max = "100%" }
[[rule.pipeline]]
step = "exec"
command = ["python3", "./look"]
protocol = "jsonl"
confine = false
[rule.output.main]
path = "out/{rule}/{stem}.jsonl"
[rule.source]
on_success  = "archive"
archive_dir = "archive/{rule}"

# Files that wait for a marker.
[[rule]]
name  = "statements"
paths = ["in/statements/*.txt"]
ready = { strategy = "marker", marker = "{name}.done", late_after = "1s" }
[rule.output.main]
path = "out/{rule}/{stem}.txt"
[rule.source]
on_success  = "archive"
archive_dir = "archive/{rule}"
"""

LOOK = """import json, sys
for line in sys.stdin:
    data = json.loads(line)["data"]
    bad = isinstance(data, dict) and str(data.get("kind")) == "bad"
    print(json.dumps({"fail": "no such account <b>x</b>"} if bad else {"data": data}), flush=True)
"""

# Names that a page may not take for markup, nor for a direction of text.
HOSTILE = ["<img src=x onerror=alert(1)>.txt", "\u202egpj.txt", "ümläut ' \" & %41.txt", "x" * 180 + ".txt"]


class World:
    def __init__(self, folder, binary):
        self.folder = pathlib.Path(folder)
        self.binary = binary
        for name in ["payments/acme", "payments/globex", "small", "ledger", "orders", "statements"]:
            (self.folder / "in" / name).mkdir(parents=True)
        (self.folder / "landfall.toml").write_text(CONFIGURATION)
        (self.folder / "look").write_text(LOOK)
        self.process = None

    def start(self):
        self.log = self.folder / "log"
        out = self.log.open("ab")
        command = [self.binary, "--config", str(self.folder / "landfall.toml"), "run"]
        self.process = subprocess.Popen(command, cwd=self.folder, stdout=out, stderr=out, stdin=subprocess.DEVNULL)
        self.url = wait_for("the API listens", lambda: re.search(r'url="?(https?://[0-9.:]+)', self.log.read_text()), 60)[1]
        self.token = (self.folder / "data" / "api.token").read_text().strip()
        wait_for("it is ready", lambda: self.ask("/readyz") is not None, 60)
        return self

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(40)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def ask(self, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, headers={"Authorization": f"Bearer {self.token}"})
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError:
            return None

    def drop(self, name, text):
        """As a whole, like a careful sender."""
        path = self.folder / "in" / name
        hidden = path.with_name(".tmp-" + str(time.monotonic_ns()))
        hidden.write_bytes(text if isinstance(text, bytes) else text.encode())
        os.rename(hidden, path)
        return path

    def payments(self, sender, name, good, bad=0, invalid=0, test=0):
        kinds = ["bad"] * bad + ["test"] * test + ["good"] * good
        rows = [f"{number},{number}.50,{kind}" for number, kind in enumerate(kinds)]
        rows += [f"{number},x,good" for number in range(invalid)]
        return self.drop(f"payments/{sender}/{name}", "id,amount,kind\n" + "\n".join(rows) + "\n")

    def job(self, source, state=None, within=60):
        """The newest job of a source, once it is in this state."""
        def look():
            found = self.ask("/v1/lines?count=500")["jobs"]
            found = [job for job in found if job["source"].endswith(source) and state in (None, job["state"])]
            return found[0] if found else None
        return wait_for(f"{source} is {state}", look, within)

    def trail(self):
        return "".join(path.read_text() for path in sorted((self.folder / "data" / "audit").iterdir()))


def wait_for(what, look, within=30):
    until = time.monotonic() + within
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > until:
            raise AssertionError(f"in vain waited for: {what}")
        time.sleep(0.05)
