#!/usr/bin/python3
"""A flood at strangers' door: 1,000 idle and 200 slow-sending connections, newcomers without end, and a dictionary; what a
well-behaved sender and the owner wait for their 250 meanwhile, and what it costs in memory and CPU."""

import resource
import socket
import statistics
import sys
import threading
import time

from scene import Scene, letter, submitted

IDLE, SLOW, LETTERS = 1000, 200, 50
MIB = 1024
CONFIG = "connections = 1500\n"


def main():
    resource.setrlimit(resource.RLIMIT_NOFILE, (8192, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    with Scene("flood") as scene:
        mine = scene.key("me@here.example")
        scene.serve(CONFIG)
        owners = list(
            submitted(mine, "me@here.example", ["me@here.example"], [letter("me@here.example", "me@here.example", 4096)] * LETTERS * 4)
        )
        good = measure(scene, "quiet", owners)
        before = scene.status("VmRSS")
        idle = [connect(scene.mx, f"127.2.{n >> 2}.{n & 255 or 1}") for n in range(IDLE)]
        settle(idle)
        after = scene.status("VmRSS")
        print(f"{IDLE} idle: VmRSS {before / MIB:.1f} -> {after / MIB:.1f} MiB, {(after - before) / IDLE:.1f} KiB each")
        slow = [connect(scene.mx, f"127.3.{n}.1") for n in range(SLOW)]
        settle(slow)
        for wire in slow:
            wire.sendall(b"EHLO slow.example\r\nMAIL FROM:<>\r\nRCPT TO:<me@here.example>\r\n")
        settle(slow)
        for wire in slow:
            wire.sendall(b"DATA\r\n")
        settle(slow)
        stop = threading.Event()
        drip = threading.Thread(target=dripping, args=(slow, stop))
        drip.start()
        good &= measure(scene, f"{IDLE} idle, {SLOW} slow", owners)
        print(f"  VmRSS {scene.status('VmRSS') / MIB:.1f} MiB, VmHWM {scene.status('VmHWM') / MIB:.1f} MiB")
        made = [0]
        knock = threading.Thread(target=knocking, args=(scene.mx, stop, made))
        knock.start()
        begun, cpu = time.monotonic(), scene.cpu()
        good &= measure(scene, "the same, and newcomers", owners)
        spent, cpu = time.monotonic() - begun, scene.cpu() - cpu
        print(f"  {made[0] / spent:.0f} newcomers/s, {cpu / spent * 100:.0f} % of a CPU, VmHWM {scene.status('VmHWM') / MIB:.1f} MiB")
        stop.set()
        drip.join()
        knock.join()
        for wire in idle + slow:
            wire.close()
        dictionary(scene)
    sys.exit(0 if good else "somebody waited for more than a second")


def connect(to, source):
    return socket.create_connection(to, source_address=(source, 0), timeout=30)


def settle(wires):
    """Reads what was said to each, and a little longer."""
    for wire in wires:
        wire.recv(4096)
    time.sleep(0.5)
    for wire in wires:
        wire.setblocking(False)
        try:
            wire.recv(4096)
        except BlockingIOError:
            pass
        wire.setblocking(True)


def dripping(wires, stop):
    while not stop.wait(0.5):
        for wire in wires:
            try:
                wire.sendall(b"x")
            except OSError:
                pass


def knocking(to, stop, made):
    """Connects from ever new addresses, and keeps the last 500 connections."""
    kept = []
    while not stop.is_set():
        n = made[0]
        try:
            kept.append(connect(to, f"127.{16 + n // 62500 % 64}.{n // 250 % 250}.{n % 250 + 1}"))
        except OSError:
            pass
        made[0] += 1
        if len(kept) > 500:
            kept.pop(0).close()


def measure(scene, what, owners):
    slowest = 0
    for who, door, source, files in [
        ("a stranger", scene.mx, "127.0.0.9", None),
        ("the owner", scene.submission, "127.0.0.1", owners),
    ]:
        times = []
        for n in range(LETTERS):
            if files:
                file = files.pop()
                sender, content = "me@here.example", file.read_bytes()
                file.unlink()
            else:
                sender, content = "you@there.example", letter("you@there.example", "me@here.example", 4096)
            begun = time.monotonic()
            transact(door, source, sender, content)
            times.append((time.monotonic() - begun) * 1000)
        times.sort()
        slowest = max(slowest, times[-1])
        print(f"{what:28} {who:11} median {statistics.median(times):6.1f} ms, slowest {times[-1]:6.1f} ms")
    return slowest < 1000


def transact(door, source, sender, content):
    with connect(door, source) as wire, wire.makefile("rb") as said:
        def hear(code):
            while True:
                line = said.readline()
                assert line.startswith(code), line
                if line[3:4] == b" ":
                    return

        hear(b"220")
        for command in ["EHLO mx.there.example", f"MAIL FROM:<{sender}>", "RCPT TO:<me@here.example>"]:
            wire.sendall(f"{command}\r\n".encode())
            hear(b"250")
        wire.sendall(b"DATA\r\n")
        hear(b"354")
        wire.sendall(content + b".\r\n")
        hear(b"250")


def dictionary(scene):
    """Names that do not exist: what one costs where the tarpit does not hold it yet (five in each session)."""
    cpu, names, begun = scene.cpu(), 0, time.monotonic()
    for n in range(200):
        with connect(scene.mx, f"127.4.{n}.1") as wire:
            wire.recv(4096)
            tries = "".join(f"RCPT TO:<nobody{n}x{m}@here.example>\r\n" for m in range(5))
            wire.sendall(f"EHLO a.example\r\nMAIL FROM:<>\r\n{tries}QUIT\r\n".encode())
            while wire.recv(4096):
                pass
        names += 5
    cpu = scene.cpu() - cpu
    print(f"dictionary: {names} names, {cpu / names * 1000:.2f} ms of CPU each, {names / (time.monotonic() - begun):.0f} names/s on one wire after the other")


main()
