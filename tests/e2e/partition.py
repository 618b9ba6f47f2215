#!/usr/bin/env python3
"""partition.py LISTEN CONNECT: passes bytes between unix sockets. SIGUSR1 cuts the network: nothing passes in either
direction, connections stay; SIGUSR2 cuts only what goes to who connected to LISTEN; SIGCONT heals it."""
import os, select, signal, socket, sys

cut = {"up": False, "down": False}


def on(number, up, down):
    signal.signal(number, lambda *_: cut.update(up=up, down=down))


on(signal.SIGUSR1, True, True)
on(signal.SIGUSR2, False, True)
on(signal.SIGCONT, False, False)
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen(64)
other, direction = {}, {}


def drop(s):
    for end in (s, other.pop(s)):
        other.pop(end, None)
        direction.pop(end, None)
        end.close()


while True:
    readable = [s for s in other if not cut[direction[s]]]
    for s in select.select([listener] + readable, [], [], 0.05)[0]:
        if s is listener:
            near, far = s.accept()[0], socket.socket(socket.AF_UNIX)
            try:
                far.connect(sys.argv[2])
            except OSError:
                near.close()
                continue
            other[near], other[far], direction[near], direction[far] = far, near, "up", "down"
        elif s in other:
            try:
                data = s.recv(1 << 16)
                if data:
                    other[s].sendall(data)
            except OSError:
                data = b""
            if not data:
                drop(s)
