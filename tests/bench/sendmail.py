#!/usr/bin/python3
"""CPU of `sendmail` for one small letter, signed and sealed, to a local sink: below 10 ms."""

import os
import subprocess
import sys
import time

from scene import PILLARBOX, Scene, Sink, letter, median

RUNS = 100


def main():
    with Scene("sendmail") as scene, Sink() as sink:
        config = scene.key("me@here.example")
        text = letter("me@here.example", "you@there.example", 4096)
        via = f"submit_via=smtp://127.0.0.1:{sink.port}"
        command = [PILLARBOX, "--config", str(config), "-o", via, "sendmail", "-i", "you@there.example"]
        runs = [measured(command, text) for _ in range(RUNS)]
    cpu, took, peak = (median(column) for column in zip(*runs))
    print(f"sendmail: {cpu * 1000:.1f} ms of CPU, {took * 1000:.1f} ms in all, {peak / 1024:.1f} MiB at most (medians of {RUNS})")
    sys.exit(0 if cpu < 0.010 else "more than 10 ms of CPU")


def measured(command, text):
    begun = time.monotonic()
    child = subprocess.Popen(command, stdin=subprocess.PIPE)
    child.stdin.write(text)
    child.stdin.close()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise RuntimeError(f"{command}: {child.returncode}")
    return usage.ru_utime + usage.ru_stime, time.monotonic() - begun, usage.ru_maxrss


main()
