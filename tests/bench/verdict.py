#!/usr/bin/python3
"""What a verdict costs: strangers' letters, durable before each 250, from domains without records and from such with SPF, DKIM
and DMARC; letters per second, CPU and peak memory of the server, by turns in one run, with ratios to the first row. DNS answers
on loopback.

The client was here before: an unknown one would wait a tenth of a second for its greeting. Each figure is of a server that has just
been started, in a place of its own. OLD=PROGRAM measures another build of the server beside it, and POSTFIX=yes Postfix,
which verifies nothing."""

import os
import pathlib
import subprocess

from postfix import Postfix, arrived
from scene import ROOT, SCRATCH, PILLARBOX, Scene, median, run, wait_for

LETTERS = int(os.environ.get("LETTERS", 2000))
ROUNDS = int(os.environ.get("ROUNDS", 3))
OLD = os.environ.get("OLD")
POSTFIX = os.environ.get("POSTFIX")
KINDS = os.environ.get("KINDS", "none spf dkim all ten").split()
#: What is common to some rows: octets of a letter, domains that send in turn, connections, letters over each.
PLACES = [
    (4096, 1, 1, "many"),
    (4096, 1, 5, "many"),
    (4096, 1, 50, "many"),
    (4096, 1, 1, "one"),
    (4096, 1, 5, "one"),
    (4096, 1, 50, "one"),
    (4096, 300, 1, "many"),
    (4096, 300, 5, "many"),
    (4096, 300, 50, "many"),
    (102400, 1, 5, "many"),
]
ONLY = [int(number) for number in os.environ.get("PLACES", "").split()] or range(len(PLACES))


def main():
    run(["cargo", "build", "--release", "--locked", "--example", "strangers"], cwd=ROOT)
    if POSTFIX:
        run(["sh", ROOT / "tests/peers/unpack", ROOT / "target/peers"])
    loads = {}
    try:
        print("letter, domains, connections, letters over each")
        for place in (PLACES[number] for number in ONLY):
            octets, domains = place[:2]
            if (octets, domains) not in loads:
                loads[octets, domains] = Load(octets, domains)
            table(place, loads[octets, domains])
    finally:
        for load in loads.values():
            load.end()


def table(place, load):
    octets, domains, connections, over_each = place
    count = LETTERS if octets < 10000 else LETTERS // 5
    rows = [(Pillarbox, kind) for kind in KINDS]
    if OLD:
        rows += [(Predecessor, "none"), (Predecessor, "dkim")]
    if POSTFIX:
        rows += [(Postfix, "none"), (Postfix, "ten")]
    figures = {row: [] for row in rows}
    for _ in range(ROUNDS):
        for system, kind in rows:
            figures[system, kind].append(measured(system, kind, place, count, load))
    print(f"{octets >> 10} KiB, {domains}, {connections}, {over_each}", flush=True)
    print("  what               letters/s (rounds)               ratio   CPU ms/letter   peak MiB")
    first = None
    for (system, kind), rounds in figures.items():
        rate, cpu, memory = (median(column) for column in zip(*rounds))
        first = first or rate
        each = f"{rate:7.0f} ({' '.join(f'{figure[0]:.0f}' for figure in rounds)})"
        print(f"  {system.name:>11} {kind:4}   {each:32} {rate / first:5.2f}   {cpu:13.2f}   {memory / 1024:8.1f}", flush=True)


def measured(system, kind, place, count, load):
    """Letters per second, CPU in ms per letter, peak memory in kB."""
    _, domains, connections, over_each = place
    with (Postfix() if system is Postfix else system(load)) as server:
        load.send("none", 1, server.door, 1, 1, 1)
        wait_for("the first letter", lambda: server.came() == 1)
        before = server.cpu()
        took = load.send(kind, domains, server.door, connections, count if over_each == "many" else 1, count)
        wait_for("the last letter", lambda: server.came() == count + 1)
        return count / took, 1000 * (server.cpu() - before) / count, server.peak()


class Load:
    """The program that sends, with its letters made, and what DNS must know of them."""

    def __init__(self, octets, domains):
        self.file = pathlib.Path(SCRATCH) / f"bench-verdict-zone-{os.getpid()}"
        self.child = subprocess.Popen(
            [ROOT / "target/release/examples/strangers", self.file, "me@here.example", str(octets), str(domains)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        assert self.child.stdout.readline() == "ready\n"
        # The client's address has a name, as that of an honest server has.
        self.zone = self.file.read_text() + "1.0.0.127.in-addr.arpa. 300 IN PTR mx.there.example.\n"
        self.file.unlink()

    def send(self, *words):
        """How many seconds it took."""
        self.child.stdin.write(" ".join(map(str, words)) + "\n")
        self.child.stdin.flush()
        told = self.child.stdout.readline()
        if not told:
            raise RuntimeError(f"the letters were not taken: {words}")
        return float(told)

    def end(self):
        self.child.stdin.close()
        self.child.wait()


class Pillarbox:
    name, program = "pillarbox", PILLARBOX

    def __init__(self, load):
        self.scene = Scene("verdict", self.program)
        self.zone = load.zone

    def __enter__(self):
        self.scene.__enter__()
        self.scene.zone += self.zone
        self.scene.serve()
        self.door = "%s:%d" % self.scene.mx
        return self

    def __exit__(self, *error):
        self.scene.__exit__(*error)

    def came(self):
        return arrived(self.scene.mail / "here.example/me/new")

    def cpu(self):
        return self.scene.cpu()

    def peak(self):
        return self.scene.status("VmHWM")


class Predecessor(Pillarbox):
    name, program = "before", OLD


main()
