#!/usr/bin/python3
"""Memory of `serve`: idle, after 100 connections, and with 50 letters of 25 MiB at once through either door."""

import socket
import sys
import threading

from scene import Scene, letter, send, submitted

CONNECTIONS = 50
OCTETS = 25 << 20
MIB = 1024


def main():
    with Scene("memory") as scene:
        mine, theirs = scene.key("me@here.example"), scene.key("you@there.example")
        scene.serve()
        idle = scene.status("VmRSS")
        hundred(scene)
        after = scene.status("VmRSS")
        print(f"idle                          VmRSS {idle / MIB:6.1f} MiB")
        print(f"after 100 connections         VmRSS {after / MIB:6.1f} MiB")
        good = idle < 15 * MIB and after < 20 * MIB
        for name, config, sender, door in [
            ("mx, signed", theirs, "you@there.example", scene.mx),
            ("submission, sealed", mine, "me@here.example", scene.submission),
        ]:
            many = [letter(sender, "me@here.example", OCTETS)] * CONNECTIONS
            files = list(submitted(config, sender, ["me@here.example"], many))
            taken = load(door, sender, files)
            peak = scene.status("VmHWM")
            print(f"{taken} x 25 MiB, {name:19} VmHWM {peak / MIB:6.1f} MiB, {scene.cpu():5.1f} s of CPU so far")
            good = good and taken == CONNECTIONS and peak < 60 * MIB
            for file in files:
                file.unlink()
    sys.exit(0 if good else "more than 15 MiB idle, 20 MiB after some work or 60 MiB at work")


def hundred(scene):
    wires = [socket.create_connection(scene.mx) for _ in range(100)]
    for wire in wires:
        wire.recv(1000)
        wire.sendall(b"EHLO mx.there.example\r\nMAIL FROM:<you@there.example>\r\nRCPT TO:<me@here.example>\r\n")
        wire.recv(1000)
    for wire in wires:
        wire.close()


def load(door, sender, files):
    answers = []
    threads = [
        threading.Thread(target=send, args=(door, sender, "me@here.example", file, answers)) for file in files
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(answers)


main()
