"""The data: made once, kept under target/bench. The same count gives the same bytes."""
import io
import random
import shutil
import subprocess
import sys
import tempfile
import zipfile

from . import CACHE, ROOT

NAMES = ["Ada Lovelace", "Grace Hopper", "Edsger Dijkstra", "Barbara Liskov",
         "Donald Knuth", "Leslie Lamport", "Tony Hoare", "John von Neumann"]
STATES = ["ACTIVE", "CLOSED", "PENDING", "HOLD"]
HEADER = "id,account,name,amount,currency,date,status,note\n"
SMALL_RECORDS = 10
GIGABYTE = 10**9
BLOCK_RECORDS, FEW_RECORDS = 4000, 200


def payments(records, out):
    """Eight columns of about 85 bytes in all; in every 97th row the amount is N/A."""
    chance = random.Random(7)
    out.write(HEADER.encode())
    below, bits, share = chance.randrange, chance.getrandbits, chance.random
    rows = []
    for number in range(records):
        amount = "N/A" if number % 97 == 0 else "%d.%02d" % (below(100000), below(100))
        rows.append("%d,AC%010d,%s,%s,%s,2026-%02d-%02d,%s,ref %x-%x\n" % (
            number, below(10**10), NAMES[below(8)], amount, "USD" if share() < .7 else "EUR",
            below(1, 13), below(1, 29), STATES[below(4)], bits(32), bits(24)))
        if len(rows) == 20000:
            out.write("".join(rows).encode())
            rows.clear()
    out.write("".join(rows).encode())


def made(name, make):
    """The file of this name, made by `make(partial)` where it is not there."""
    path = CACHE / name
    if not path.exists():
        print(f"making {path.relative_to(ROOT)}", file=sys.stderr)
        CACHE.mkdir(parents=True, exist_ok=True)
        partial = path.with_name("making-" + path.name)
        make(partial)
        partial.rename(path)
    return path


def gzip(records):
    def make(partial):
        with open(partial, "wb") as file, subprocess.Popen(["gzip", "-6c"], stdin=subprocess.PIPE, stdout=file) as packer:
            payments(records, packer.stdin)
            packer.stdin.close()
        if packer.returncode:
            raise SystemExit("gzip failed")
    return made(f"payments-{records}.csv.gz", make)


def plain(records):
    source = gzip(records)
    return made(f"payments-{records}.csv", lambda partial: output_of(["gzip", "-dc", source], partial))


def zstd(records):
    source = plain(records)
    return made(f"payments-{records}.csv.zst", lambda partial: output_of(["zstd", "-3", "-qc", source], partial))


def zip_archive(records):
    def make(partial):
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
            archive.write(plain(records), f"payments-{records}.csv")
    return made(f"payments-{records}.zip", make)


def age_key():
    return made("age.key", lambda partial: subprocess.run(["age-keygen", "-o", partial], check=True, stderr=subprocess.DEVNULL))


def age(records):
    recipient = subprocess.run(["age-keygen", "-y", age_key()], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    return made(f"payments-{records}.csv.gz.age",
                lambda partial: subprocess.run(["age", "-r", recipient, "-o", partial, gzip(records)], check=True))


def expanding(gigabytes):
    """Real records, repeated: a gzip member for each GB, all of them alike."""
    def make(partial):
        rows = block()
        with tempfile.TemporaryFile(dir=CACHE) as member:
            with subprocess.Popen(["gzip", "-9c"], stdin=subprocess.PIPE, stdout=member) as packer:
                for _ in range(GIGABYTE // len(rows)):
                    packer.stdin.write(rows)
                packer.stdin.close()
            if packer.returncode:
                raise SystemExit("gzip failed")
            with open(partial, "wb") as out:
                for _ in range(gigabytes):
                    member.seek(0)
                    shutil.copyfileobj(member, out)
    return made(f"expanding-{gigabytes}.txt.gz", make)


def expanding_records(gigabytes):
    rows = block()
    return gigabytes * (GIGABYTE // len(rows)) * rows.count(b"\n")


def block():
    """Rows, each few of them eight times over within the window of gzip. 100 GB are 5 GB on the disk, which the system's cache can hold; of
    rows without repetition it would be 36 GB, and of the same few for ever 0.7 GB, which inflate faster than any record can be looked at."""
    out = io.BytesIO()
    payments(BLOCK_RECORDS, out)
    rows = out.getvalue().splitlines(keepends=True)[1:]
    return b"".join(b"".join(rows[first:first + FEW_RECORDS]) * 8 for first in range(0, len(rows), FEW_RECORDS))


def output_of(command, path):
    with open(path, "wb") as out:
        subprocess.run(command, check=True, stdout=out)


def small(number):
    """Ten payments with their header."""
    rows = (f"{row},AC{number:010},{NAMES[row % 8]},{number}.{row:02},EUR,2026-01-02,ACTIVE,ref {row}\n" for row in range(SMALL_RECORDS))
    return HEADER + "".join(rows)


def small_files(folder, count, names=lambda number: f"payments-{number}.csv"):
    """`count` of them in a new folder."""
    folder.mkdir()
    for number in range(count):
        (folder / names(number)).write_text(small(number))
