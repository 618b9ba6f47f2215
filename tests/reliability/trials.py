"""kill -9, again and again, of everything in turn, and whether anything that was acknowledged is lost or doubled.

usage: trials.py ISLRD ISLRCTL [--trials 200] [--seed S] [--epochs 14] [--keep]

A real server, two real ranks under mpirun (MPIRUN in the environment: how ranks are launched), and real clients work on
small real training runs without a pause: runs are submitted (with idempotency keys; most of them held, so that the queue
grows), one is trained, a client follows its figures from the beginning, another pulls what the run before has left. Each
trial kills one of them with SIGKILL at a random moment - the server, a rank, mpirun, all three, the submitting, following
or pulling client - lets whatever stood it up stand it up again, and looks:

  * every run that was acknowledged is there, once, under the number that was said; a key that was tried again after its
    client or the server was killed has one run; numbers only grow;
  * every figure that a client was shown is there, in the same place of the sequence; every checkpoint too.

When a run has ended:

  * its models are those of a run that nobody disturbed, bit for bit, after a pull that was killed as well;
  * every step has been trained, each attempt's steps follow each other, and a step that was trained twice has the same
    figures both times;
  * a client that followed from beginning to end has seen what is stored, each record once, and ended with the run's
    exit code.

At the end `islrd fsck` looks at database and artifacts, and a backup is made, verified and restored. Exit code 0: nothing
was lost or doubled. The last line is a summary for docs/reliability.md.
"""
import argparse
import collections
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback

MPIRUN = os.environ.get("MPIRUN", "mpirun --oversubscribe --bind-to none").split()
MODELS = ("student", "teacher", "distilled", "soup")
VICTIMS = {"server": 5, "rank": 3, "mpirun": 2, "server and mpirun": 1, "submitting client": 3, "following client": 2,
           "pulling client": 2}


class Lost(Exception):
    """What must not happen."""


def read_csv(text):
    """Complete lines of `metrics --csv` as tuples (seq, attempt, step, metric, value)."""
    rows = []
    for line in text[:text.rfind("\n") + 1].splitlines()[1:]:
        seq, _, attempt, step, _, _, metric, value = line.split(",")
        rows.append((int(seq), int(attempt), int(step), metric, value))
    return rows


class World:
    """The programs under test, and how to stand them up again."""

    def __init__(self, a, directory):
        self.a, self.directory = a, directory
        self.lock = threading.Lock()
        self.clients = {}  # role: Popen
        self.state = os.path.join(directory, "state")
        self.socket = os.path.join(directory, "socket")
        self.env = {**os.environ, "ISLR_SERVER": f"unix:{self.socket}", "OMPI_ALLOW_RUN_AS_ROOT": "1",
                    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "OMP_WAIT_POLICY": "passive"}
        self.server = self.workers = None

    def spawn(self, name, command):
        with open(os.path.join(self.directory, name + ".log"), "a") as log:
            return subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *command], stdin=subprocess.DEVNULL, stdout=log,
                                    stderr=log, env=self.env, start_new_session=True)

    def start_server(self):
        self.server = self.spawn("server", [self.a.islrd, "serve", "--dir", self.state, "--socket", self.socket])

    def start_workers(self):
        self.workers = self.spawn("workers", [*MPIRUN, "-np", "2", self.a.islrd, "work", "--threads", "1"])

    def run_local(self, out):
        subprocess.run([*MPIRUN, "-np", "2", self.a.islrd, "run", self.job(), "--threads", "1", "--out", out], check=True,
                       env=self.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def job(self):
        return os.path.join(self.directory, "job.yaml")

    def ctl(self, *arguments, role=None, out=subprocess.PIPE):
        """A client; one with a role may be killed. (exit code, output)."""
        p = subprocess.Popen([self.a.islrctl, *arguments], env=self.env, stdin=subprocess.DEVNULL, stdout=out,
                             stderr=subprocess.PIPE)
        if role:
            with self.lock:
                self.clients[role] = p
        stdout, stderr = p.communicate()
        self.said = stderr.decode(errors="replace").strip()
        return p.returncode, (stdout or b"").decode()

    def ask(self, *arguments):
        """A client that is not killed, tried until the server is back: its JSON."""
        for _ in range(600):
            code, out = self.ctl(*arguments, "--json")
            if code == 0:
                return json.loads(out)
            time.sleep(0.1)
        raise Lost(f"islrctl {' '.join(arguments)} does not succeed: {self.said}")

    def ranks(self):
        out = subprocess.run(["pgrep", "-P", str(self.workers.pid)], stdout=subprocess.PIPE, text=True).stdout
        return [int(pid) for pid in out.split()]

    def stand_up(self):
        if self.server.poll() is not None:
            self.start_server()
        if self.workers.poll() is not None:
            self.start_workers()

    def catch(self, role):
        """A client that is at work, at some moment of it."""
        seen = None
        for _ in range(3000):
            with self.lock:
                p = self.clients.get(role)
            if p and p.poll() is None and (seen is None or p is not seen):
                time.sleep(random.choice((0, random.uniform(0, 0.01), random.uniform(0, 0.05))))
                if p.poll() is None:
                    return [p.pid]
                seen = p
            time.sleep(0.001)
        return []

    def kill(self, victim):
        """Returns whether there was something to kill."""
        pids = []
        if "server" in victim:
            pids.append(self.server.pid)
        if victim == "rank":
            ranks = self.ranks()
            pids += random.sample(ranks, min(1, len(ranks)))
        if "mpirun" in victim:
            pids.append(self.workers.pid)
        if "client" in victim:
            pids += self.catch(victim)
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        for p in (self.server, self.workers):
            if p.pid in pids:
                p.wait()
        return bool(pids)

    def end(self):
        with self.lock:
            for p in self.clients.values():
                p.kill()
        for p in (self.workers, self.server):
            if p and p.poll() is None:
                p.terminate()
                try:
                    p.wait(20)
                except subprocess.TimeoutExpired:
                    os.killpg(p.pid, signal.SIGKILL)
                    p.wait()


class Trials:
    def __init__(self, a, world):
        self.a, self.world = a, world
        self.acknowledged = {}                 # key: run
        self.tried = set()                     # keys
        self.rows = collections.defaultdict(list)  # run: what a client was shown
        self.checkpoints = collections.defaultdict(set)  # run: (id, what, epoch, sha256)
        self.failure = None
        self.stop = threading.Event()
        self.counts = collections.Counter()
        self.lock = threading.Lock()
        self.steps = 3 * a.epochs  # of a run: 48 clips to train on, 16 a batch
        self.current = None  # the run that is being trained
        self.pullable = None  # one that has ended
        self.last_seen = {}  # run: figures of its training steps at the last look

    def guarded(self, work):
        try:
            work()
        except Exception as e:
            self.failure = self.failure or e
            self.stop.set()

    # ---- what goes on all the time ----

    def submit(self, key, *arguments, role=None):
        """Until it is acknowledged; the run."""
        with self.lock:
            self.tried.add(key)
        while True:
            code, out = self.world.ctl("submit", self.world.job(), "--name", key, "--key", key, *arguments, role=role)
            if code == 0:
                run = int(out)
                with self.lock:
                    if run in self.acknowledged.values():
                        raise Lost(f"run {run} was given twice: to {key} and another")
                    self.acknowledged[key] = run
                self.counts["submits"] += 1
                return run
            if code not in (4, 6, -signal.SIGKILL):
                raise Lost(f"submit ended with {code}: {self.world.said}")
            self.counts["submits tried again"] += 1
            time.sleep(0.05)

    def keep_submitting(self):
        n = 0
        while not self.stop.is_set():
            n += 1
            self.submit(f"held-{n}", "--hold", role="submitting client")
            self.stop.wait(0.2)

    def follow(self, run, ended):
        """A client that follows from the beginning, begun again when it is killed, until one has seen the end."""
        while True:
            code, out = self.world.ctl("metrics", str(run), "-f", "--csv", role="following client")
            rows = read_csv(out)
            self.show(run, rows)
            if code == 0:
                ended.append(rows)
                return
            if code != -signal.SIGKILL and (code != 4 or rows):  # 4: it came while no server was there
                raise Lost(f"metrics -f of run {run} ended with {code}: {self.world.said}")
            self.counts["follows begun again"] += 1

    def show(self, run, rows):
        """A client was shown these: they are what every later one is shown, too."""
        with self.lock:
            known = self.rows[run]
            n = min(len(known), len(rows))
            if known[:n] != rows[:n]:
                raise Lost(f"run {run}: a client is shown other figures than one before")
            if len(rows) > len(known):
                self.rows[run] = rows

    def keep_pulling(self):
        """What the newest run that has ended has left, over and over."""
        while not self.stop.is_set():
            if self.pullable:
                self.pull(self.pullable)
                self.counts["pulls"] += 1
            self.stop.wait(0.1)

    def pull(self, run):
        out = os.path.join(self.world.directory, "pulled")
        while True:
            code, _ = self.world.ctl("pull", f"{run}:all", "-o", out, role="pulling client")
            if code == 0:
                break
            if code not in (4, 6, -signal.SIGKILL):
                raise Lost(f"pull of run {run} ended with {code}: {self.world.said}")
            self.counts["pulls tried again"] += 1
        for model in MODELS:
            with open(f"{self.world.directory}/whole/final/{model}.safetensors", "rb") as f, \
                    open(f"{out}/final/{model}.safetensors", "rb") as g:
                if f.read() != g.read():
                    raise Lost(f"run {run}: its {model} is not that of the run that nobody disturbed")
        shutil.rmtree(out)

    def keep_training(self):
        n = 0
        while not self.stop.is_set():
            n += 1
            run = self.submit(f"trained-{n}", role="submitting client")
            self.current = run
            ended = []
            self.follow(run, ended)
            self.check_ended(run, ended[0])
            self.pullable = run
            self.counts["runs trained"] += 1

    # ---- looking ----

    def check_ended(self, run, followed):
        shown = self.world.ask("show", str(run))
        if shown["state"] != "succeeded":
            raise Lost(f"run {run} is {shown['state']}: {shown['reason']}")
        code, out = self.world.ctl("metrics", str(run), "--csv")
        while code != 0:
            time.sleep(0.1)
            code, out = self.world.ctl("metrics", str(run), "--csv")
        rows = read_csv(out)
        self.show(run, rows)
        if rows != followed:
            raise Lost(f"run {run}: who followed has seen {len(followed)} figures, {len(rows)} are stored")
        if len({(r[0], r[3]) for r in rows}) != len(rows):
            raise Lost(f"run {run}: a figure is there twice")
        by_attempt, values = collections.defaultdict(list), {}
        for _, attempt, step, metric, value in rows:
            if metric == '"loss/student"':
                by_attempt[attempt].append(step)
            if "per_second" not in metric and values.setdefault((step, metric), value) != value:
                raise Lost(f"run {run}: {metric} of step {step} was {values[step, metric]} and is {value} after a kill")
        for attempt, steps in by_attempt.items():
            if steps != list(range(steps[0], steps[0] + len(steps))):
                raise Lost(f"run {run}: the steps of attempt {attempt} do not follow each other")
        if set().union(*by_attempt.values()) != set(range(1, self.steps + 1)):
            raise Lost(f"run {run}: steps are missing")
        self.counts["attempts"] += len(shown["attempts"])
        self.counts["figures"] += len(rows)

    def check(self):
        """After a trial: what was acknowledged before this was asked is in the answer."""
        with self.lock:
            wanted, tried = dict(self.acknowledged), set(self.tried)
        listed = self.world.ask("list", "--limit", "1000000")["runs"]
        by_name = collections.Counter(r["name"] for r in listed)
        numbers = {r["name"]: r["run"] for r in listed}
        for key, run in wanted.items():
            if numbers.get(key) != run:
                raise Lost(f"run {run} ({key}) was acknowledged; now it is {numbers.get(key, 'gone')}")
        for name, times in by_name.items():
            if times > 1:
                raise Lost(f"{name} is there {times} times")
        run = self.current
        if run:
            found = {(c["id"], c["what"], c["epoch"], c["sha256"]) for c in
                     self.world.ask("checkpoints", str(run))["checkpoints"] if c["what"] != "resume"}
            if self.checkpoints[run] - found:
                raise Lost(f"run {run}: checkpoints are gone: {self.checkpoints[run] - found}")
            self.checkpoints[run] = found
            code, out = self.world.ctl("metrics", str(run), "--csv")
            if code == 0:
                self.show(run, read_csv(out))
        return len(tried)

    def wait_for_progress(self):
        """Until a record of the run that is being trained has come in, or it has ended."""
        for _ in range(100):
            run = self.current
            code, out = self.world.ctl("metrics", str(run), "--csv", "-m", "loss/student") if run else (1, "")
            seen = len(read_csv(out)) if code == 0 else 0
            if seen > self.last_seen.get(run, 0):
                self.last_seen[run] = seen
                return
            time.sleep(0.2)

    def finish(self):
        """Database and artifacts in themselves, and a backup that is restored."""
        tar, restored = (os.path.join(self.world.directory, n) for n in ("backup.tar", "restored"))
        os.mkdir(restored)
        for command in ([self.a.islrd, "backup", "--dir", self.world.state, "--out", tar],
                        [self.a.islrd, "fsck", "--dir", self.world.state], ["tar", "-xf", tar, "-C", restored],
                        [self.a.islrd, "fsck", "--dir", restored]):
            p = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            if p.returncode:
                raise Lost(f"{' '.join(command[:2])} ended with {p.returncode}: {p.stdout}")

    def run(self):
        threads = [threading.Thread(target=self.guarded, args=(w,), daemon=True)
                   for w in (self.keep_submitting, self.keep_training, self.keep_pulling)]
        for t in threads:
            t.start()
        killed = collections.Counter()
        victims, weights = list(VICTIMS), list(VICTIMS.values())
        while sum(killed.values()) < self.a.trials and not self.stop.is_set():
            if random.random() < 0.6:  # else in the middle of standing up
                self.wait_for_progress()
            time.sleep(random.uniform(0, 1.5))
            victim = random.choices(victims, weights)[0]
            if not self.world.kill(victim):
                continue
            killed[victim] += 1
            time.sleep(random.uniform(0, 0.5))
            self.world.stand_up()
            self.guarded(self.check)
            self.world.stand_up()
            if sum(killed.values()) % 10 == 0:
                print(f"{sum(killed.values())} kills, {dict(self.counts)}", file=sys.stderr)
        while any(t.is_alive() for t in threads):  # the run under way is trained to its end
            self.stop.set()
            self.world.stand_up()
            time.sleep(0.2)
        if self.failure:
            raise self.failure
        self.check()
        self.finish()
        return killed


def prepare(a, directory):
    subprocess.run([a.islrd, "synth", "--out", f"{directory}/recordings", "--signs", "4", "--participants", "4",
                    "--clips", "96", "--seed", "3"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with open(f"{directory}/job.yaml", "w") as f:
        f.write(f"""kind: train
preset: tiny
data: {{path: {directory}/recordings, k: 2, fold: 0}}
model: {{dense_dim: 16, widths: [32, 32, 48, 32]}}
distill: {{dense_dim: 16, widths: [32, 32, 32, 32]}}
train: {{epochs: {a.epochs}, batch: 16, group: 8}}
checkpoint: {{soup_last: 3, resume_minutes: 0.002}}
retry: {{max_attempts: 1000}}
""")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("islrd")
    p.add_argument("islrctl")
    p.add_argument("--trials", type=int, default=200)
    p.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    p.add_argument("--epochs", type=int, default=14)
    p.add_argument("--keep", action="store_true", help="leave the directory, to look at it")
    a = p.parse_args()
    a.islrd, a.islrctl = os.path.abspath(a.islrd), os.path.abspath(a.islrctl)
    random.seed(a.seed)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))
    directory = tempfile.mkdtemp(prefix="islr-trials-")
    world = World(a, directory)
    trials = Trials(a, world)
    began = time.monotonic()
    status = 0
    try:
        prepare(a, directory)
        world.run_local(f"{directory}/whole")
        world.start_server()
        world.start_workers()
        killed = trials.run()
    except Lost as e:
        print(f"LOST OR DOUBLED (seed {a.seed}, {directory}): {e}", file=sys.stderr)
        status = 1
    except Exception:
        traceback.print_exc()
        status = 1
    finally:
        trials.stop.set()
        world.end()
        if not a.keep and status == 0:
            shutil.rmtree(directory, ignore_errors=True)
    if status == 0:
        print(json.dumps({"trials": sum(killed.values()), "seed": a.seed, "minutes": round((time.monotonic() - began) / 60, 1),
                          "killed": dict(killed), **trials.counts}))
    os._exit(status)  # threads that still wait for a server are not waited for


if __name__ == "__main__":
    main()
