#!/usr/bin/env python3
"""What a client waits for on a server with a long history, as whole processes that take turns: medians.

usage: history.py ISLRD ISLRCTL DIR [--rounds N]
DIR is a server's directory that bench_fill has made, on which no server runs:
    build/tests/bench/bench_fill DIR 100000 100 10000
"""
import argparse
import os
import pathlib
import statistics
import subprocess
import sys
import time

COMMANDS = [["list", "--limit", "10000"], ["list", "--where", "accuracy/soup>0.7"],
            ["list", "--sort", "-accuracy/soup", "--limit", "20"], ["status"]]
TICK_MS = 1000 / os.sysconf("SC_CLK_TCK")


def cpu_ms(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) * TICK_MS


def children_ms():
    t = os.times()
    return (t.children_user + t.children_system) * 1000


def wait_for(command, env, seconds=60):
    until = time.monotonic() + seconds
    while subprocess.run(command, env=env, capture_output=True).returncode:
        if time.monotonic() > until:
            sys.exit("the server does not answer")
        time.sleep(0.1)


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("islrd")
    p.add_argument("islrctl")
    p.add_argument("directory")
    p.add_argument("--rounds", type=int, default=41)
    a = p.parse_args()
    env = dict(os.environ, ISLR_SERVER=f"unix:{a.directory}/bench.sock")
    server = subprocess.Popen([a.islrd, "serve", "--dir", a.directory, "--socket", f"{a.directory}/bench.sock"],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for([a.islrctl, "status"], env)
        wall, client, served = ([[] for _ in COMMANDS] for _ in range(3))
        for _ in range(a.rounds):
            for i, command in enumerate(COMMANDS):
                server_before, client_before, began = cpu_ms(server.pid), children_ms(), time.perf_counter()
                subprocess.run([a.islrctl, *command], env=env, stdout=subprocess.DEVNULL, check=True)
                wall[i].append((time.perf_counter() - began) * 1000)
                client[i].append(children_ms() - client_before)
                served[i].append(cpu_ms(server.pid) - server_before)
        for i, command in enumerate(COMMANDS):
            print(f"islrctl {' '.join(command)}: {statistics.median(wall[i]):.1f} ms (best {min(wall[i]):.1f}), "
                  f"CPU {statistics.mean(client[i]):.0f} + {statistics.mean(served[i]):.0f} ms")
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
