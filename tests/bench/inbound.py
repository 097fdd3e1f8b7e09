#!/usr/bin/python3
"""Strangers' letters of 4 KiB, durable before each 250: letters per second at 1, 5 and 50 connections, with and without a
DKIM signature to be checked. The load is Postfix's smtp-source."""

import os
import shutil
import subprocess
import time

from scene import ROOT, Scene, letter, median, run, submitted

LETTERS = int(os.environ.get("LETTERS", 2000))
ROUNDS = int(os.environ.get("ROUNDS", 3))


def main():
    source = smtp_source()
    with Scene("inbound") as scene:
        config = scene.key("you@there.example")
        scene.serve()
        plain = scene.dir / "plain"
        plain.write_bytes(letter("you@there.example", "me@here.example", 4096).replace(b"\r\n", b"\n"))
        wire = [letter("you@there.example", "me@here.example", 4096)]
        signed = next(submitted(config, "you@there.example", ["me@here.example"], wire))
        signed.write_bytes(signed.read_bytes().replace(b"\r\n", b"\n"))
        print("connections   signed   letters/s   CPU of serve, ms/letter")
        for connections in (1, 5, 50):
            for name, file in (("no", plain), ("yes", signed)):
                runs = [measured(scene, source, connections, file) for _ in range(ROUNDS)]
                speed, cpu = (median(column) for column in zip(*runs))
                print(f"{connections:11}   {name:>6}   {speed:9.0f}   {cpu:23.2f}", flush=True)


def measured(scene, source, connections, file):
    before, begun = scene.cpu(), time.monotonic()
    host, port = scene.mx
    count = ["-s", connections, "-m", LETTERS, "-F", file, "-M", "mx.there.example"]
    run([*source, *count, "-f", "you@there.example", "-t", "me@here.example", f"{host}:{port}"])
    took, used = time.monotonic() - begun, scene.cpu() - before
    new = scene.mail / "here.example/me/new"
    came = len(os.listdir(new))
    if came != LETTERS:
        raise RuntimeError(f"{came} letters of {LETTERS} came")
    shutil.rmtree(scene.mail / "here.example/me")
    (scene.mail / "here.example/me").mkdir()
    return LETTERS / took, 1000 * used / LETTERS


def smtp_source():
    """Postfix's load generator, unpacked and not installed, with the libraries that come with it."""
    if found := shutil.which("smtp-source"):
        return [found]
    peers = ROOT / "target/peers"
    subprocess.run(["sh", ROOT / "tests/peers/unpack", peers], check=True)
    postfix = peers / "postfix"
    libraries = ":".join(str(path) for path in postfix.glob("usr/lib/**") if path.is_dir())
    return ["env", f"LD_LIBRARY_PATH={libraries}", str(postfix / "usr/sbin/smtp-source")]


main()
