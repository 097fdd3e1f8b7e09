#!/usr/bin/python3
"""Says whether dkimpy finds a letter's first signature good: dkimpy_verify.py RECORD < letter, RECORD being its key's"""
import sys

import dkim

record = sys.argv[1].encode()
print("good" if dkim.verify(sys.stdin.buffer.read(), dnsfunc=lambda name, timeout=5: record) else "bad")
