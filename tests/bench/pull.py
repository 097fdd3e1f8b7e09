#!/usr/bin/python3
"""`pull` of 10,000 letters of 4 KiB through a local pipe, beside `rsync -a --remove-source-files --fsync` between the same
directories, by turns. The ratio must be below 1."""

import os
import shutil
import sys
import time

from scene import PILLARBOX, Scene, median, run

LETTERS = int(os.environ.get("LETTERS", 10_000))
OCTETS = int(os.environ.get("OCTETS", 4096))
ROUNDS = int(os.environ.get("ROUNDS", 5))


def main():
    ours, theirs = [], []
    with Scene("pull") as scene:
        for number in range(ROUNDS):
            theirs.append(timed(scene, f"rsync-{number}", rsync))
            ours.append(timed(scene, f"pull-{number}", pull))
            print(f"round {number + 1}: rsync {theirs[-1]:6.3f} s, pull {ours[-1]:6.3f} s", flush=True)
    ratio = median(ours) / median(theirs)
    print(f"{LETTERS} letters of {OCTETS} octets: rsync {median(theirs):.3f} s, pull {median(ours):.3f} s, ratio {ratio:.2f}")
    sys.exit(0 if ratio < 1 else "pull is slower than rsync")


def timed(scene, name, carry):
    """Fresh directories for each run: the file system's state after many removals swings by a factor of two."""
    place = scene.dir / name
    server, home = place / "server/here.example/me", place / "home/here.example/me"
    for maildir in (server, home):
        for folder in ("new", "cur", "tmp"):
            (maildir / folder).mkdir(parents=True)
    for number in range(LETTERS):
        head = f"From: you@there.example\nTo: me@here.example\nSubject: letter {number}\n\n".encode()
        body = os.urandom(OCTETS // 2).hex().encode()
        (server / f"new/17{number:08}.M{number}P1Q{number}.mx").write_bytes((head + body)[:OCTETS])
    command = carry(place, server, home)
    os.sync()
    begun = time.monotonic()
    run(command)
    took = time.monotonic() - begun
    left, came = len(os.listdir(server / "new")), len(os.listdir(home / "new"))
    if (left, came) != (0, LETTERS):
        raise RuntimeError(f"{name}: {left} letters are left, {came} came")
    shutil.rmtree(place)
    return took


def rsync(_, server, home):
    return ["rsync", "-a", "--remove-source-files", "--fsync", f"{server}/", f"{home}/"]


def pull(place, server, home):
    config, there = place / "home.toml", place / "server.toml"
    there.write_text(f'hostname = "mx.here.example"\nmail_root = "{server.parents[1]}"\nstate_dir = "{place}/state"\n')
    config.write_text(
        f'server = "here"\nmail = "{home.parents[1]}"\n'
        f'pull_via = ["{PILLARBOX}", "--config", "{there}", "gate", "export", "here.example"]\n'
    )
    return [PILLARBOX, "--config", config, "pull"]


main()
