"""The control plane beside Slurm's, on the same machine in the same minutes.

usage: slurm.py ISLRD ISLRCTL [--rounds 5] [--serial 50] [--parallel 200] [--array 1000] [--list 10000] [--starts 10]
                              [--idle 30] [--json]

Starts a throw-away cluster of Debian's slurm-wlm (munged, slurmctld, slurmd on loopback ports of their own, in a
temporary directory; root) and a server of ours with two ranks, lets the two take turns, prints a table of medians and
ratios, and ends and removes all of it. Every figure counts whole processes of sbatch, squeue and islrctl, as a user's
script meets them. What is compared:

  serial      submissions a second, one process after the other
  parallel    the same from 8 clients at once
  array       one submission of many runs: sbatch --array, islrctl submit --sweep; and until they are all listed
  list        milliseconds to list that many queued jobs
  start       milliseconds from before the client starts until the job runs (Slurm: its script's first line; ours: all
              ranks have the job)
  idle        CPU of the idle daemons, in percent of a core: slurmctld + slurmd, server, each rank

Slurm is told not to put the start of batch jobs off, which it does by default (batch_sched_delay is 3 s).
Slurm answers a submission before it is durable, ours afterwards. Slurm's state directory and ours are on the same disk.
"""
import argparse
import concurrent.futures
import datetime
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

CLIENTS = 8
TICKS = os.sysconf("SC_CLK_TCK")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def timed(work):
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def wait_until(what, condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise SystemExit(f"waited in vain for {what}")
        time.sleep(0.05)


class Daemons:
    """Processes that end with this one, newest first."""

    def __init__(self, directory):
        self.directory, self.processes = directory, []

    def start(self, name, command, env=None):
        log = open(os.path.join(self.directory, name + ".log"), "w")
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env,
                                   start_new_session=True)
        self.processes.append(process)
        return process

    def end(self):
        for process in reversed(self.processes):
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


class Slurm:
    name = "Slurm"

    def __init__(self, directory):
        self.directory, self.daemons = directory, Daemons(directory)
        host = socket.gethostname().split(".")[0]
        key, sock = os.path.join(directory, "munge.key"), os.path.join(directory, "munge.socket")
        with open(key, "wb") as f:
            f.write(os.urandom(128))
        os.chmod(key, 0o400)
        for name in ("state", "spool"):
            os.mkdir(os.path.join(directory, name))
        conf = os.path.join(directory, "slurm.conf")
        with open(conf, "w") as f:
            f.write(f"""ClusterName=bench
SlurmctldHost={host}(127.0.0.1)
AuthInfo=socket={sock}
SlurmUser=root
SlurmdUser=root
StateSaveLocation={directory}/state
SlurmdSpoolDir={directory}/spool
SlurmctldPidFile={directory}/slurmctld.pid
SlurmdPidFile={directory}/slurmd.pid
SlurmctldPort={free_port()}
SlurmdPort={free_port()}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0
MaxJobCount=200000
MaxArraySize=10001
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={os.cpu_count()} State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP
""")
        self.env = {**os.environ, "SLURM_CONF": conf}
        self.daemons.start("munged", ["munged", "--foreground", "--force", f"--key-file={key}", f"--socket={sock}",
                                      f"--pid-file={directory}/munged.pid", f"--log-file={directory}/munge.log",
                                      f"--seed-file={directory}/munge.seed"])
        wait_until("munged", lambda: os.path.exists(sock))
        self.ctld = self.daemons.start("slurmctld", ["slurmctld", "-D", "-f", conf], self.env)
        self.d = self.daemons.start("slurmd", ["slurmd", "-D", "-f", conf], self.env)
        wait_until("a node of Slurm", lambda: "idle" in self.output(["sinfo", "-h", "-o", "%T"]), 60)
        self.script = os.path.join(directory, "job.sh")
        with open(self.script, "w") as f:
            f.write("#!/bin/sh\ndate +%s.%N >\"$1\"\n")

    def output(self, command):
        return subprocess.run(command, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout

    def call(self, command):
        subprocess.run(command, env=self.env, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    def submit(self):
        self.call(["sbatch", "--hold", "-o", "/dev/null", self.script, "/dev/null"])

    def submit_array(self, count):
        self.call(["sbatch", "--hold", f"--array=1-{count}", "-o", "/dev/null", self.script, "/dev/null"])

    def list(self, count):
        self.call(["squeue", "-h"])

    def list_array(self, count):
        self.call(["squeue", "-h", "-r"])

    def fill(self, count):
        self.clear()
        for left in range(count, 0, -1000):
            self.submit_array(min(left, 1000))
        # squeue shows an array that is pending as one line unless told otherwise; whole jobs are what is compared
        self.list = lambda _: self.call(["squeue", "-h", "-r"])

    def clear(self):
        self.call(["scancel", "--user=root"])
        wait_until("Slurm's queue to be empty", lambda: not self.output(["squeue", "-h"]).strip(), 60)

    def start(self):
        out = os.path.join(self.directory, "started")
        if os.path.exists(out):
            os.unlink(out)
        began = time.time()
        self.call(["sbatch", "-o", "/dev/null", self.script, out])
        wait_until("Slurm's job", lambda: os.path.exists(out) and os.path.getsize(out) > 10)
        with open(out) as f:
            return float(f.read()) - began

    def idle(self):
        return {"slurmctld": [self.ctld.pid], "slurmd": [self.d.pid]}

    def end(self):
        self.daemons.end()


class Islr:
    name = "islr"

    def __init__(self, directory, islrd, islrctl):
        self.directory, self.daemons, self.islrctl = directory, Daemons(directory), islrctl
        sock = os.path.join(directory, "socket")
        self.env = {**os.environ, "ISLR_SERVER": f"unix:{sock}", "OMPI_ALLOW_RUN_AS_ROOT": "1",
                    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
        self.server = self.daemons.start("server", [islrd, "serve", "--dir", os.path.join(directory, "state"),
                                                    "--socket", sock])
        wait_until("the server", lambda: os.path.exists(sock))
        self.daemons.start("workers", ["mpirun", "--oversubscribe", "--bind-to", "none", "-np", "2", islrd, "work",
                                       "--threads", "1"], self.env)
        wait_until("two ranks", lambda: len(self.ranks()) == 2)
        self.job = os.path.join(directory, "job.yaml")
        with open(self.job, "w") as f:
            f.write(f"kind: train\nname: bench\npreset: tiny\ndata: {{path: {directory}/no-such-recordings}}\n"
                    "retry: {max_attempts: 1}\n")

    def output(self, *arguments):
        return json.loads(subprocess.run([self.islrctl, *arguments, "--json"], env=self.env, check=True,
                                         stdout=subprocess.PIPE).stdout)

    def call(self, *arguments):
        subprocess.run([self.islrctl, *arguments], env=self.env, check=True, stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL)

    def ranks(self):
        found = self.output("workers")["workers"]
        return [w["pid"] for w in found]

    def submit(self):
        self.call("submit", "--hold", self.job)

    def submit_array(self, count):
        self.call("submit", "--hold", self.job, "--sweep", f"train.seed=1..{count}")

    def list(self, count):
        self.call("list", "--limit", str(count))

    def list_array(self, count):
        if len(self.output("list", "--parent", "@last", "--limit", str(count))["runs"]) != count:
            raise SystemExit("a sweep has not all its runs")

    def fill(self, count):
        missing = count - self.output("status")["queued"]
        with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
            list(pool.map(lambda _: self.submit(), range(max(missing, 0))))

    def start(self):
        began = time.time()
        run = str(self.output("submit", self.job)["run"])
        subprocess.run([self.islrctl, "wait", run], env=self.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        # it has nothing to train on, so it may have failed before all ranks had said that they have it
        when = next(e["time"] for e in self.output("show", run)["events"] if e["state"] in ("running", "failed"))
        return datetime.datetime.fromisoformat(when.replace("Z", "+00:00")).timestamp() - began

    def idle(self):
        return {"server": [self.server.pid], "each rank": self.ranks()}

    def end(self):
        self.daemons.end()


def in_parallel(system, count):
    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(lambda _: system.submit(), range(count)))


def measure(a, systems):
    """{row: {system: [values]}}; the two take turns within each round."""
    found = {}

    def note(row, system, value):
        found.setdefault(row, {}).setdefault(system.name, []).append(value)
        print(f"{row}: {system.name} {value:.1f}", file=sys.stderr)

    for _ in range(a.rounds):
        for s in systems:
            note("serial submissions/s", s,
                 a.serial / timed(lambda: [s.submit() for _ in range(a.serial)]))
        for s in systems:
            note(f"submissions/s from {CLIENTS} clients", s, a.parallel / timed(lambda: in_parallel(s, a.parallel)))
        if a.array:
            for s in systems:
                took = timed(lambda: s.submit_array(a.array))
                note(f"one submission of {a.array} runs, ms", s, 1e3 * took)
                # also so that what is still to be done does not meet the other's turn
                note("the same until all are listed, ms", s, 1e3 * (took + timed(lambda: s.list_array(a.array))))
    if a.list:
        for s in systems:
            s.fill(a.list)
        for _ in range(3 * a.rounds):
            for s in systems:
                note(f"list of {a.list}, ms", s, 1e3 * timed(lambda: s.list(a.list)))
    systems[0].clear()
    for _ in range(a.starts):
        for s in systems:
            note("submit to start, ms", s, 1e3 * s.start())
    if a.idle:
        time.sleep(5)
        before = {pid: cpu_seconds(pid) for s in systems for pids in s.idle().values() for pid in pids}
        time.sleep(a.idle)
        for s in systems:
            for what, pids in s.idle().items():
                for pid in pids:
                    note(f"idle, % of a core: {what}", s, 100 * (cpu_seconds(pid) - before[pid]) / a.idle)
    return found


def table(found):
    lines = ["| what | islr | Slurm | islr / Slurm |", "| --- | --- | --- | --- |"]
    for row, values in found.items():
        median = {name: statistics.median(v) for name, v in values.items()}
        cells = [f"{median[n]:.{0 if median[n] >= 100 else 1}f}" if n in median else "" for n in ("islr", "Slurm")]
        ratio = f"{median['islr'] / median['Slurm']:.2f}" if len(median) == 2 and median["Slurm"] else ""
        lines.append(f"| {row} | {cells[0]} | {cells[1]} | {ratio} |")
    return "\n".join(lines)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("islrd")
    p.add_argument("islrctl")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--serial", type=int, default=50)
    p.add_argument("--parallel", type=int, default=200)
    p.add_argument("--array", type=int, default=1000)
    p.add_argument("--list", type=int, default=10000)
    p.add_argument("--starts", type=int, default=10)
    p.add_argument("--idle", type=int, default=30)
    p.add_argument("--json", action="store_true")
    a = p.parse_args()
    if os.geteuid() != 0 or not shutil.which("slurmctld", path=os.environ["PATH"] + ":/usr/sbin"):
        raise SystemExit("this takes root and the packages slurm-wlm and munge")
    os.environ["PATH"] += ":/usr/sbin"
    directory = tempfile.mkdtemp(prefix="islr-slurm-")
    systems = []
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))
    try:
        for name, make in (("slurm", Slurm), ("islr", lambda d: Islr(d, os.path.abspath(a.islrd),
                                                                      os.path.abspath(a.islrctl)))):
            os.mkdir(os.path.join(directory, name))
            systems.append(make(os.path.join(directory, name)))
        found = measure(a, systems)
    finally:
        for s in systems:
            s.end()
        shutil.rmtree(directory, ignore_errors=True)
    print(json.dumps(found, indent=2) if a.json else table(found))


if __name__ == "__main__":
    main()
