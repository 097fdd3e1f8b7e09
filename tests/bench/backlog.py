#!/usr/bin/python3
"""A dead destination: what it costs a living one (the time of one letter, alone and beside 1,000 that wait), and what 100,000
letters for it cost: the start, memory, and the CPU of an idle minute. The dead host takes no connection and refuses none:
its listener's backlog is full."""

import os
import socket
import subprocess
import time

from scene import ROOT, Scene, Sink, median, run, wait_for

WAITING = int(os.environ.get("WAITING", 1000))
BACKLOG = int(os.environ.get("BACKLOG", 100000))
SAMPLES = int(os.environ.get("SAMPLES", 100))
IDLE = int(os.environ.get("IDLE", 60))


def main():
    run(["cargo", "build", "--release", "--locked", "--example", "inject"], cwd=ROOT)
    with Scene("backlog") as scene:
        came = []
        with Sink(lambda letter: came.append(time.monotonic())) as sink, Dead(sink.port):
            scene.zone += (
                "else.example. 60 IN MX 10 mx.else.example.\nmx.else.example. 60 IN A 127.0.0.1\n"
                "dead.example. 60 IN MX 10 mx.dead.example.\nmx.dead.example. 60 IN A 127.0.0.3\n"
            )
            home = scene.key("me@here.example")
            key = next((home.parent / "mail").glob("me@*.pem"))
            scene.serve(f"[relay]\nport = {sink.port}\nallow_private = true\n")
            alone = samples(scene, key, came)
            inject(scene, key, "you@dead.example", WAITING)
            beside = samples(scene, key, came)
            print(f"one letter to a living host, from the connection of its author to its arrival, ms: alone {alone:.2f}, "
                  f"beside {WAITING} for a dead one {beside:.2f}", flush=True)
            inject(scene, key, "you@dead.example", BACKLOG - WAITING)
            report(scene, "with all of them queued")
            stopped, started = scene.restart()
            print(f"stop: {stopped:.2f} s; start with {BACKLOG} queued: {started:.2f} s until the doors are open", flush=True)
            time.sleep(5)
            report(scene, "5 s after the start")
            cpu = scene.cpu()
            time.sleep(IDLE)
            print(f"CPU in {IDLE} idle seconds: {scene.cpu() - cpu:.2f} s")
            report(scene, "then")


def report(scene, when):
    print(f"memory {when}: {scene.status('VmRSS') / 1024:.1f} MiB, at most {scene.status('VmHWM') / 1024:.1f} MiB", flush=True)


def samples(scene, key, came):
    """The median time of one letter's way from its author to a living host, in ms; one after another."""
    took = []
    with Load(key, "you@else.example", SAMPLES) as load:
        for _ in range(SAMPLES):
            before = len(came)
            begun = time.monotonic()
            load.send(scene, 1)
            wait_for("a letter", lambda: len(came) > before)
            took.append(1000 * (came[before] - begun))
    return median(took)


def inject(scene, key, to, count):
    """In shares that are made and sent within the ten minutes of a seal."""
    while count > 0:
        share = min(count, 20000)
        with Load(key, to, share) as load:
            load.send(scene, share, 10)
        count -= share


class Load:
    def __init__(self, key, to, count):
        self.command = [ROOT / "target/release/examples/inject", key, "me@here.example", to, str(count), "1024"]

    def __enter__(self):
        self.child = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.child.stdout.readline() == "ready\n"
        return self

    def send(self, scene, count, connections=1):
        host, port = scene.submission
        self.child.stdin.write(f"{host}:{port} {connections} {count}\n")
        self.child.stdin.flush()
        return float(self.child.stdout.readline())

    def __exit__(self, *_):
        self.child.stdin.close()
        self.child.wait()


class Dead:
    """A host that neither takes a connection nor refuses one."""

    def __init__(self, port):
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.3", port))
        self.listener.listen(0)
        self.waiting = []

    def __enter__(self):
        for _ in range(4):
            wire = socket.socket()
            wire.setblocking(False)
            wire.connect_ex(self.listener.getsockname())
            self.waiting.append(wire)

    def __exit__(self, *_):
        for wire in [*self.waiting, self.listener]:
            wire.close()


main()
