#!/usr/bin/env python3
"""Uploads files by paramiko or asyncssh, as programs that use them do.

client.py LIBRARY PORT USER KEY MANNER LOCAL=REMOTE...
  put      the library's own `put`, with what it asks for or sets after its last close
  rename   likewise under the name with `.filepart`, then SFTP's own rename
  halves   the first half of one file, then a line on stdout; the rest after a line on stdin
"""

import asyncio
import os
import sys


def with_paramiko(port, user, key, manner, pairs):
    import paramiko

    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
    client.connect("127.0.0.1", port, user, key_filename=key, look_for_keys=False, allow_agent=False)
    sftp = client.open_sftp()
    for local, remote in pairs:
        if manner == "put":
            sftp.put(local, remote)
        elif manner == "rename":
            sftp.put(local, remote + ".filepart")
            sftp.rename(remote + ".filepart", remote)
        else:
            with open(local, "rb") as source, sftp.open(remote, "wb") as target:
                target.write(source.read(os.path.getsize(local) // 2))
                target.flush()
                target.stat()  # the answer comes after those to the writes
                print("half", flush=True)
                sys.stdin.readline()
                target.write(source.read())
    client.close()


async def with_asyncssh(port, user, key, manner, pairs):
    import asyncssh

    async def upload(sftp, local, remote):
        if manner == "put":
            await sftp.put(local, remote, preserve=True)
        else:
            await sftp.put(local, remote + ".filepart", preserve=True)
            await sftp.rename(remote + ".filepart", remote)

    options = dict(username=user, client_keys=[key], known_hosts=None, agent_path=None, config=None)
    async with asyncssh.connect("127.0.0.1", port, **options) as connection:
        async with connection.start_sftp_client() as sftp:
            # Side by side in one session.
            await asyncio.gather(*(upload(sftp, *pair) for pair in pairs))


def main():
    library, port, user, key, manner, *pairs = sys.argv[1:]
    pairs = [pair.split("=") for pair in pairs]
    if library == "paramiko":
        with_paramiko(int(port), user, key, manner, pairs)
    else:
        asyncio.run(with_asyncssh(int(port), user, key, manner, pairs))


main()
