"""Makes random archives with real writers, and tells what real readers find in them.

    archives.py FOLDER SEED COUNT

One line of JSON for each archive: its file, its family (`tar`, `zip` or a compression), the writer, what was done to it, and for each
reader whether it was content and what it found (names and contents as hex of SHA-256).
"""
import bz2, hashlib, io, json, os, random, shutil, stat, subprocess, sys, tarfile, zipfile

folder, seed, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
rng = random.Random(seed)
env = dict(os.environ, LC_ALL="C.UTF-8", TZ="UTC")


def run(*command, cwd=None, stdin=None):
    done = subprocess.run(command, cwd=cwd, input=stdin, env=env, capture_output=True)
    return done.returncode, done.stdout


def sha(data):
    return hashlib.sha256(data).hexdigest()


def content():
    size = rng.choice([0, 1, 2, 511, 512, 513, 1023, 1024, 5000, 10240, 70001, rng.randrange(3000)])
    # A letter first: no layer's magic by chance.
    return (b"r" + rng.randbytes(size))[:size]


def name(plain):
    letters = "abcdefgh0123" if plain else "abc é日.,;=%\n\\'\""
    size = rng.choice([1, 3, 8, 30] if plain else [1, 3, 8, 30, 90, 99, 100, 101, 120])
    part = "".join(rng.choice(letters) for _ in range(size)).strip(".") or "x"
    while len(part.encode()) > 250:
        part = part[:-1]
    if rng.random() < 0.06:
        part = "." + part
    return part


def tree(at, plain=False, special=True):
    """A folder of files, links and what else there is."""
    os.mkdir(at)
    folders, files = [at], []
    for _ in range(rng.randrange(9)):
        where = rng.choice(folders)
        path = os.path.join(where, name(plain))
        if os.path.lexists(path) or len(os.fsencode(path)) - len(at) > 900:
            continue
        kind = rng.random()
        if kind < 0.15:
            os.mkdir(path)
            folders.append(path)
        elif kind < 0.25 and files and special:
            os.link(rng.choice(files), path)
        elif kind < 0.32 and special:
            os.symlink(rng.choice(["nowhere", "a/b", "x" * 150]), path)
        elif kind < 0.36 and special and not plain:
            os.mkfifo(path)
        else:
            with open(path, "wb") as file:
                file.write(content())
            files.append(path)
            if rng.random() < 0.2:
                try:
                    os.setxattr(path, "user.note", b"a\n9 path=b\n\0" + rng.randbytes(30))
                except OSError:
                    pass
    return at


def found_in(at):
    """Every file below a folder; a hard link is one, too."""
    files = {}
    for where, _, names in os.walk(os.fsencode(at)):
        for file in names:
            path = os.path.join(where, file)
            if stat.S_ISREG(os.lstat(path).st_mode):
                with open(path, "rb") as opened:
                    files[os.path.relpath(path, os.fsencode(at)).hex()] = sha(opened.read())
    return files


def extracted(command, archive):
    at = os.path.join(folder, "out")
    shutil.rmtree(at, ignore_errors=True)
    os.mkdir(at)
    code, _ = run(*[part.replace("ARCHIVE", archive) for part in command], cwd=at)
    return {"ok": code == 0, "files": found_in(at)}


def header(path, kind, size, magic, link=b"", blank=()):
    block = bytearray(512)

    def put(at, data):
        block[at : at + len(data)] = data

    put(0, path)
    put(100, b"0000644\0"), put(108, b"0000000\0"), put(116, b"0000000\0")
    put(124, b"%011o\0" % size), put(136, b"14000000000\0"), put(156, kind), put(157, link), put(257, magic)
    for start, end in blank:
        put(start, bytes(end - start))
    put(148, b" " * 8)
    put(148, b"%06o\0 " % sum(block))
    return bytes(block)


def pad(data):
    return data + bytes(-len(data) % 512)


def pax(records):
    out = b""
    for key, value in records:
        rest = b" " + key + b"=" + value + b"\n"
        size = len(rest)
        while len(b"%d" % size) + len(rest) != size:
            size = len(b"%d" % size) + len(rest)
        out += b"%d" % size + rest
    return header(b"pax", b"x", len(out), b"ustar\x0000") + pad(out)


def raw_tar():
    """What no writer of today writes, and writers of old did."""
    magic = rng.choice([b"ustar\x0000", b"ustar  \0", b""])
    out, files = b"", []
    for i in range(rng.randrange(1, 8)):
        path = b"m%d" % i
        numbers = [(100, 108), (108, 116), (116, 124), (136, 148)]
        blank = rng.sample(numbers, rng.randrange(3))
        if magic.startswith(b"ustar\0") and rng.random() < 0.4:
            out += pax([(b"comment", rng.randbytes(20)), (b"SCHILY.xattr.user.a", b"x\n7 a=b\n")])
        kind = rng.choice([b"0", b"0", b"0", b"\0", b"7", b"Z", b"9", b"1", b"2", b"5", b"6"])
        if kind == b"1" and not files:
            kind = b"0"
        if kind in b"1256" and kind != b"\0":
            lie = rng.choice([0, 0, 1, 600, 5000])
            link = rng.choice(files) if kind == b"1" else b"x"
            out += header(path, kind, lie, magic, link, blank)
        else:
            data = content()
            out += header(path, kind, len(data), magic, b"", blank) + pad(data)
            files.append(path)
    return out


def finished(blocks):
    """Ended as writers end it: two blocks of zeros, and the record filled up."""
    out = blocks + bytes(1024)
    done = rng.choice(["", "record", "left over", "zeros"])
    if done in ("record", "zeros"):
        out += bytes(-len(out) % 10240) + bytes(10240 * (done == "zeros"))
    elif done == "left over" and len(out) % 10240:
        out += (blocks[-9000:] * 30)[: -len(out) % 10240]
        out = out + b"x" * (-len(out) % 10240)
    return out, done


def a_tar(archive):
    at = tree(os.path.join(folder, "tree"))
    with open(os.path.join(at, "last"), "wb") as file:
        file.write(content())
    what = [rng.choice([".", "tree"])]
    where = at if what == ["."] else folder
    writer = rng.choice(["tar", "tar", "tar", "bsdtar", "bsdtar", "python", "raw", "raw"])
    note = ""
    if writer == "tar":
        form = rng.choice(["v7", "oldgnu", "gnu", "ustar", "posix"])
        more = rng.choice([[], ["-b1"], ["-b40"], ["--sort=name"], ["--hard-dereference"]])
        if form not in ("v7", "ustar"):
            more = more + rng.choice([[], [], ["-V", "label"], ["-S"]])
        more = more + (["--xattrs"] if form == "posix" and rng.random() < 0.5 else [])
        note = " ".join([form, *more])
        run("tar", "--format", form, *more, "-cf", archive, *what, cwd=where)
    elif writer == "bsdtar":
        form = rng.choice(["v7", "gnutar", "ustar", "pax", "paxr"])
        note = form
        run("bsdtar", "--format", form, "-cf", archive, *what, cwd=where)
    elif writer == "python":
        form = rng.choice([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
        note = str(form)
        with tarfile.open(archive, "w", format=form, pax_headers={"comment": "a\nb"}) as made:
            for top in sorted(os.listdir(at)):
                try:
                    made.add(os.path.join(at, top), top)
                except ValueError:
                    pass  # a name that this format has no room for
    else:
        made, note = finished(raw_tar())
        with open(archive, "wb") as file:
            file.write(made)
    shutil.rmtree(at)
    around = rng.choice(["", "", "", "gzip", "xz", "zstd", "bzip2"])
    if around:
        _, packed = run(around, "-c", archive)
        with open(archive, "wb") as file:
            file.write(packed)
    readers = {
        "tar": extracted(["tar", "-xf", "ARCHIVE", "--no-same-owner"], archive),
        "bsdtar": extracted(["bsdtar", "-xf", "ARCHIVE", "--no-same-owner"], archive),
    }
    return {"family": "tar", "writer": writer, "note": f"{note} {around}", "readers": readers}


def a_zip(archive):
    at = tree(os.path.join(folder, "tree"), plain=True)
    writer = rng.choice(["zip", "zip", "python", "python", "7z", "bsdtar"])
    note = ""
    with open(os.path.join(at, "last"), "wb") as file:
        file.write(content())
    if writer == "zip":
        more = rng.choice([[], ["-0"], ["-9"], ["-Z", "bzip2"], ["-fz"], ["-y"], ["-D"], ["-X"]])
        note = " ".join(more)
        run("zip", "-qr", *more, archive, ".", cwd=at)
    elif writer == "7z":
        more = rng.choice(["Copy", "Deflate", "Deflate64", "BZip2", "LZMA", "PPMd"])
        note = more
        run("7z", "a", "-tzip", "-mm=" + more, archive, ".", cwd=at)
    elif writer == "bsdtar":
        run("bsdtar", "--format", "zip", "-cf", archive, ".", cwd=at)
    else:
        methods = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
        with zipfile.ZipFile(archive, "w", rng.choice(methods), allowZip64=True) as made:
            made.comment = rng.choice([b"", b"a comment", b"PK\x05\x06" + bytes(18), bytes(40)])
            for path in sorted(found_in(at)):
                file = os.fsdecode(bytes.fromhex(path))
                with open(os.path.join(at, file), "rb") as opened:
                    with made.open(file, "w", force_zip64=rng.random() < 0.3) as member:
                        member.write(opened.read())
    shutil.rmtree(at)
    with open(archive, "rb") as file:
        made = file.read()
    done = rng.choice(["", "", "", "zeros", "count"])
    if done == "zeros":
        made += bytes(rng.choice([1, 512, 10240]))
    elif done == "count" and writer != "python":
        end = made.rindex(b"PK\5\6")
        few = int.from_bytes(made[end + 10 : end + 12], "little")
        if few != 0xFFFF:
            made = made[: end + 8] + max(few - 1, 0).to_bytes(2, "little") * 2 + made[end + 12 :]
    with open(archive, "wb") as file:
        file.write(made)
    python = {"ok": True, "files": {}}
    try:
        with zipfile.ZipFile(archive) as opened:
            for member in opened.infolist():
                if not member.is_dir() and not stat.S_ISLNK(member.external_attr >> 16):
                    python["files"][os.fsencode(member.filename.removeprefix("./")).hex()] = sha(opened.read(member))
    except (zipfile.BadZipFile, NotImplementedError, EOFError, OSError, ValueError):
        python["ok"] = False
    readers = {
        "unzip": extracted(["unzip", "-qo", "ARCHIVE"], archive),
        "bsdtar": extracted(["bsdtar", "-xf", "ARCHIVE"], archive),
        "python": python,
    }
    return {"family": "zip", "writer": writer, "note": f"{note} {done}", "readers": readers}


TOOLS = {
    "gzip": [["gzip", "-c"], ["gzip", "-1cN"], ["pigz", "-c"], ["pigz", "-cb", "128"]],
    "xz": [["xz", "-c"], ["xz", "-0c", "--check=sha256"], ["xz", "-c", "--check=crc32"], ["xz", "-c", "--block-size=4096"]],
    "zstd": [["zstd", "-qc"], ["zstd", "-q19c"], ["zstd", "-qc", "--content-size", "-1"]],
    "bzip2": [["bzip2", "-c"], ["bzip2", "-1c"]],
}


def a_stream(archive):
    family = rng.choice(list(TOOLS))
    members = [content() for _ in range(rng.choice([1, 1, 2, 3]))]
    packed = [run(*rng.choice(TOOLS[family]), stdin=member)[1] for member in members]
    stored = b"".join(packed)
    done = rng.choice(["", "zeros", "flip", "flip", "flip", "cut", "garbage", "zeros between"])
    if done == "zeros":
        stored += bytes(rng.choice([1, 4, 512, 10240, 300000]))
    elif done == "flip":
        at = rng.randrange(6, len(stored))
        stored = stored[:at] + bytes([stored[at] ^ (1 << rng.randrange(8))]) + stored[at + 1 :]
    elif done == "cut":
        stored = stored[: rng.randrange(6, len(stored))]
    elif done == "garbage":
        stored += rng.choice([b"garbage!", b"\n", bytes(512) + b"x"])
    elif done == "zeros between":
        stored = bytes(rng.choice([4, 512, 3])).join(packed)
    with open(archive, "wb") as file:
        file.write(stored)
    code, out = run(family, "-dc", stdin=stored)
    whole = sha(b"".join(members))
    readers = {family: {"ok": code == 0, "files": {"": sha(out)}}}
    return {"family": family, "writer": family, "note": done, "whole": whole, "readers": readers}


for number in range(count):
    archive = os.path.join(folder, f"{number}.bin")
    made = [a_tar, a_zip, a_stream, a_stream][number % 4](archive)
    if not os.path.exists(archive):
        sys.exit(f"{made['writer']} made nothing: {made['note']}")
    print(json.dumps({"file": archive, **made}), flush=True)
