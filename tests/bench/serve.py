"""What one server takes: durable submissions over open connections, figures, followers; and that what it has acknowledged is
there after kill -9.

usage: serve.py ISLRD ISLRCTL LOAD [--rounds 5] [--submissions 20000] [--connections 64] [--points 2000000]
                [--followers 1000] [--queued 10000]

ISLRD serves in a temporary directory; LOAD is build/tests/serve/serve_load. Prints a line a figure: median of the rounds
and all of them.
"""
import argparse
import os
import re
import shutil
import signal
import statistics
import subprocess
import tempfile
import time


class Server:
    def __init__(self, islrd, directory):
        self.islrd, self.directory = islrd, directory
        self.socket = os.path.join(directory, "socket")
        self.start()

    def start(self):
        if os.path.exists(self.socket):
            os.unlink(self.socket)
        with open(os.path.join(self.directory, "log"), "a") as log:
            self.process = subprocess.Popen([self.islrd, "serve", "--dir", os.path.join(self.directory, "state"),
                                             "--socket", self.socket], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        while not os.path.exists(self.socket):
            time.sleep(0.02)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def end(self):
        self.process.terminate()
        self.process.wait()

    def memory_mib(self):
        with open(f"/proc/{self.process.pid}/status") as f:
            return int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1)) / 1024

    def cpu_ms(self):
        total = 0
        for task in os.listdir(f"/proc/{self.process.pid}/task"):
            with open(f"/proc/{self.process.pid}/task/{task}/schedstat") as f:
                total += int(f.read().split()[0])
        return total / 1e6


def say(what, values, unit):
    print(f"{what}: median {statistics.median(values):.0f} {unit} ({', '.join(f'{v:.0f}' for v in values)})", flush=True)


def load(a, s, *arguments):
    out = subprocess.run([a.load, f"unix:{s.socket}", *map(str, arguments)], check=True, stdout=subprocess.PIPE,
                         text=True).stdout
    return float(re.search(r"(\d+)/s", out).group(1)), out


def ctl(a, s, *arguments):
    return subprocess.run([a.islrctl, *arguments, "--server", f"unix:{s.socket}"], check=True, stdout=subprocess.PIPE,
                          text=True).stdout


def submissions(a, s):
    rates, spent = [], []
    for _ in range(a.rounds):
        before = s.cpu_ms()
        rates.append(load(a, s, "submit", a.connections, a.submissions)[0])
        spent.append(1000 * (s.cpu_ms() - before) / a.submissions)
    say(f"submissions/s over {a.connections} open connections", rates, "/s")
    say("the server's CPU time for each", spent, "us")
    s.kill()
    s.start()
    found = len(ctl(a, s, "list", "--limit", "1000000", "--state", "queued").splitlines()) - 1
    wanted = a.rounds * a.submissions
    print(f"after kill -9: {found} of {wanted} acknowledged runs are there", flush=True)
    if found != wanted:
        raise SystemExit("runs are lost")


def figures(a, s):
    rates, names, records = [], 10, 200
    messages = a.points // (names * records)
    for i in range(a.rounds):
        ctl(a, s, "submit", a.job)
        rate, out = load(a, s, "metrics", messages, records, names)
        rates.append(rate)
        run = int(re.search(r"run (\d+)", out).group(1))
        s.kill()  # the last of them was acknowledged a moment ago
        s.start()
        found = len(ctl(a, s, "metrics", str(run), "--csv").splitlines()) - 1
        if found != messages * names * records:
            raise SystemExit(f"{messages * names * records - found} figures of run {run} are lost")
        ctl(a, s, "cancel", str(run))
    say("figures/s, all there after kill -9", rates, "/s")


def followers(a, s):
    load(a, s, "submit", a.connections, a.queued)
    queued = s.memory_mib()
    p = subprocess.Popen([a.load, f"unix:{s.socket}", "follow", str(a.followers), "1"], stdout=subprocess.PIPE, text=True)
    p.stdout.readline()
    time.sleep(2)
    before = s.cpu_ms()
    time.sleep(10)
    print(f"{a.queued} queued runs: {queued:.0f} MiB; with {a.followers} followers that are idle: {s.memory_mib():.0f} MiB, "
          f"{(s.cpu_ms() - before) / 100:.2f} % of a core", flush=True)
    p.kill()
    p.wait()


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("islrd", "islrctl", "load"):
        p.add_argument(name)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--submissions", type=int, default=20000)
    p.add_argument("--connections", type=int, default=64)
    p.add_argument("--points", type=int, default=2000000)
    p.add_argument("--followers", type=int, default=1000)
    p.add_argument("--queued", type=int, default=10000)
    a = p.parse_args()
    directory = tempfile.mkdtemp(prefix="islr-load-")
    a.job = os.path.join(directory, "job.yaml")
    with open(a.job, "w") as f:
        f.write("kind: train\npreset: tiny\ndata: {path: /data/asl-signs}\n")
    try:
        for part in (followers, figures, submissions):
            os.makedirs(os.path.join(directory, part.__name__))
            s = Server(a.islrd, os.path.join(directory, part.__name__))
            try:
                part(a, s)
            finally:
                s.end()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
