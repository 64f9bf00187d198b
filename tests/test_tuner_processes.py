"""Searches that are killed, and searches shared by several processes: SQLite, and PostgreSQL where it is installed."""

import collections
import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import optuna
import pytest

import pydl.tuner as kt
from harness import PYDL_FOLDER
from pydl import process
from pydl.tuner.engine import ledger, storage

pytestmark = pytest.mark.slow  # processes that import everything

# A worker: appends a line when it begins and ends a trial; waits in trials while the file `hold` exists.
WORKER = """
import os, sys, time
import pydl, pydl.tuner as kt

folder, storage, name, base, trials = sys.argv[1:]

def log(text):
    with open(os.path.join(folder, "log"), "a") as file:
        file.write(f"{name} {text}\\n")

class Worker(getattr(kt, base)):
    def run_trial(self, trial):
        hp = trial.hyperparameters
        x = hp.Float("x", 0, 1) + hp.Int("n", 0, 20)
        log(f"begin {trial.trial_id}")
        time.sleep(0.02)
        while os.path.exists(os.path.join(folder, "hold " + trial.trial_id)):
            time.sleep(0.01)
        log(f"end {trial.trial_id}")
        return (x - 3) ** 2

options = {"max_epochs": 4, "factor": 2} if base == "Hyperband" else {"max_trials": int(trials)}
tuner = Worker(seed=7, directory=folder, project_name="shared", storage=storage or None, **options)
tuner.oracle.verbose = 0
log("ready")
tuner.search()
"""


def start(folder, name, url="", base="RandomSearch", trials=8):
    return subprocess.Popen([sys.executable, "-c", WORKER, str(folder), url, name, base, str(trials)], cwd=PYDL_FOLDER)


def lines(folder):
    path = Path(folder) / "log"
    return [tuple(line.split(maxsplit=1)) for line in path.read_text().splitlines()] if path.exists() else []


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.01)


def ended(*workers):
    return [worker.wait(timeout=120) for worker in workers]


def reader(folder, url="", trials=8, base=kt.RandomSearch):
    class Reader(base):
        def run_trial(self, trial):
            raise AssertionError("nothing is left to run")

    options = {"max_epochs": 4, "factor": 2} if base is kt.Hyperband else {"max_trials": trials}
    tuner = Reader(directory=folder, project_name="shared", storage=url or None, **options)
    tuner.oracle.verbose = 0
    tuner.search()
    return tuner


def outcome(tuner):
    return [(t.trial_id, t.status, t.score, t.hyperparameters.values) for t in tuner.oracle.trials.values()]


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def database(request, tmp_path):
    """URL of an empty database."""
    if request.param == "SQLite":
        yield f"sqlite:///{tmp_path / 'shared.db'}"
    else:
        with postgres() as url:
            yield url


@contextlib.contextmanager
def postgres():
    """A server of its own for the test, on a Unix socket; as another user where tests run as root, as it demands."""
    pytest.importorskip("psycopg")
    places = [str(path) for path in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
    path = os.pathsep.join([os.environ["PATH"], *places])
    initdb, pg_ctl = shutil.which("initdb", path=path), shutil.which("pg_ctl", path=path)
    if initdb is None or pg_ctl is None:
        pytest.skip("no PostgreSQL server is installed")
    user, owner = {}, pwd.getpwuid(os.geteuid()).pw_name
    folder = tempfile.mkdtemp(prefix="pg", dir="/tmp")  # the path of a socket may not be long
    if os.geteuid() == 0:
        owner = "nobody"
        with contextlib.suppress(KeyError):
            owner = pwd.getpwnam("postgres").pw_name
        entry = pwd.getpwnam(owner)
        user = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
        os.chown(folder, entry.pw_uid, entry.pw_gid)

    def run(*command):
        subprocess.run(command, check=True, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, **user)

    data = f"{folder}/data"
    try:
        run(initdb, "-D", data, "-A", "trust", "-N")
        run(pg_ctl, "-D", data, "-w", "-l", f"{folder}/log", "-o", f"-k {folder} -c listen_addresses=''", "start")
        try:
            yield f"postgresql+psycopg://{owner}@/postgres?host={folder}"
        finally:
            run(pg_ctl, "-D", data, "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


# ---- one search, several processes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("base, count", [("RandomSearch", 12), ("Hyperband", 15)])
def test_two_processes_share_a_search(base, count, database, tmp_path):
    workers = [start(tmp_path, name, database, base, count) for name in "ab"]
    assert ended(*workers) == [0, 0]
    begun = collections.Counter(text for _, text in lines(tmp_path) if text.startswith("begin"))
    assert len(begun) == count and set(begun.values()) == {1}  # each trial once
    assert {name for name, text in lines(tmp_path) if text.startswith("begin")} == {"a", "b"}
    tuner = reader(tmp_path, database, count, getattr(kt, base))
    assert [t[1] for t in outcome(tuner)] == ["COMPLETED"] * count
    if base == "RandomSearch":
        assert len({str(t[3]) for t in outcome(tuner)}) == count
    else:
        rounds = collections.Counter((t[3]["tuner/bracket"], t[3]["tuner/round"]) for t in outcome(tuner))
        assert rounds == {(2, 0): 4, (2, 1): 2, (2, 2): 1, (1, 0): 3, (1, 1): 2, (0, 0): 3}


def test_the_living_take_over_from_the_dead(database, tmp_path):
    (tmp_path / "hold 2").touch()
    (tmp_path / "hold 3").touch()
    victim = start(tmp_path, "victim", database)
    wait_for(lambda: ("victim", "begin 2") in lines(tmp_path))
    heir = start(tmp_path, "heir", database)
    wait_for(lambda: ("heir", "begin 3") in lines(tmp_path))
    victim.kill()
    victim.wait()
    (tmp_path / "hold 2").unlink()
    (tmp_path / "hold 3").unlink()
    assert ended(heir) == [0]
    mine = [text for name, text in lines(tmp_path) if name == "heir"]
    assert mine[1:5] == ["begin 3", "end 3", "begin 2", "end 2"]
    tuner = reader(tmp_path, database)
    assert [t[1] for t in outcome(tuner)] == ["COMPLETED"] * 8
    assert [t.attempt for t in tuner.oracle.trials.values()] == [0, 0, 1, 0, 0, 0, 0, 0]
    states = collections.Counter(t.state.name for t in tuner.oracle._ledger.study.trials)
    assert states == {"COMPLETE": 8, "FAIL": 1}


# ---- one search, killed ----------------------------------------------------------------------------------------------


def test_a_killed_search_goes_on_as_if_nothing_had_been(tmp_path):
    """SIGKILL in the middle of a trial, twice: the same trials, values and scores as without."""
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    assert ended(start(tmp_path / "whole", "w")) == [0]
    folder = tmp_path / "killed"
    for trial in "35":
        (folder / f"hold {trial}").touch()
        worker = start(folder, trial)
        wait_for(lambda: (trial, f"begin {trial}") in lines(folder))
        worker.send_signal(signal.SIGKILL)
        assert worker.wait() == -signal.SIGKILL
        (folder / f"hold {trial}").unlink()
    assert ended(start(folder, "last")) == [0]
    whole, killed = reader(tmp_path / "whole"), reader(folder)
    assert outcome(killed) == outcome(whole) and len(outcome(whole)) == 8
    assert [text for name, text in lines(folder) if name == "last"][1:3] == ["begin 5", "end 5"]
    assert killed.oracle.trials["5"].attempt == 1


MODELS = """
import os, signal, sys
import numpy as np
import pydl, pydl.tuner as kt

rng = np.random.default_rng(0)
x = rng.normal(size=(64, 4)).astype("float32")
y = (x[:, 0] > 0).astype("int32")

def build(hp):
    model = pydl.Sequential([pydl.layers.Dense(hp.Int("units", 2, 9)), pydl.layers.Dropout(0.2),
                             pydl.layers.Dense(2, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy")
    return model

class Killed(pydl.callbacks.Callback):
    count = 0

    def on_epoch_end(self, epoch, logs=None):
        Killed.count += 1
        if Killed.count == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)

tuner = kt.RandomSearch(build, "val_loss", max_trials=3, seed=4, directory=sys.argv[1], project_name="m")
tuner.search(x, y, epochs=3, validation_split=0.25, callbacks=[Killed()], verbose=0)
print([trial.score for trial in tuner.oracle.trials.values()])
print(tuner.get_best_models()[0].evaluate(x[48:], y[48:], verbose=0))
"""


def test_models_of_a_killed_search(tmp_path):
    """Initial weights, order of the samples and dropout as well: the same scores, bit for bit."""
    def run(folder, kill_at=0):
        return subprocess.run([sys.executable, "-c", MODELS, str(tmp_path / folder), str(kill_at)], cwd=PYDL_FOLDER,
                              capture_output=True, text=True)

    whole = run("whole")
    assert whole.returncode == 0 and len(whole.stdout.splitlines()) == 2, whole.stderr
    assert run("killed", kill_at=5).returncode == -signal.SIGKILL
    assert run("killed").stdout.splitlines()[1:] == whole.stdout.splitlines()


def test_a_trial_that_kills_its_process_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(ledger, "has_ended", lambda owner: True)  # whoever it was has died

    def oracle():
        found = kt.oracles.RandomSearchOracle(max_trials=1, seed=0)
        found.verbose = 0
        found._set_project_dir(tmp_path, "p", f"sqlite:///{tmp_path / 'a.db'}")
        return found

    for attempt in range(4):
        trial = oracle().create_trial("w")
        assert (trial.status, trial.attempt) == ("RUNNING", attempt)
    last = oracle()
    assert last.create_trial("w").status == "STOPPED"
    assert last.trials["0"].status == "FAILED" and "died in each of 4 attempts" in last.trials["0"].message


# ---- who is alive ----------------------------------------------------------------------------------------------------


def test_owners():
    me = process.this_process()
    assert not process.has_ended(me) and not process.has_ended(None)
    if os.path.exists("/proc/self/stat"):
        assert process.has_ended({**me, "started": "1"})  # the id was given to another process since
    assert not process.has_ended({**me, "machine": "another", "pid": 2 ** 22 - 1})
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    owner = {**me, "pid": child.pid, "started": process.started(child.pid)}
    assert not process.has_ended(owner)
    child.kill()
    if os.path.exists("/proc/self/stat"):
        wait_for(lambda: process.has_ended(owner))  # a zombie already counts
    child.communicate()
    assert process.has_ended(owner)


def test_silence_from_another_machine(tmp_path, monkeypatch):
    """A worker elsewhere whose heartbeat stops loses its trial after the grace; one that beats keeps it."""
    monkeypatch.setattr(storage, "HEARTBEAT_SECONDS", 1)
    monkeypatch.setattr(storage, "GRACE_SECONDS", 3)
    monkeypatch.setattr(ledger, "has_ended", lambda owner: False)

    def oracle():
        found = kt.oracles.RandomSearchOracle(max_trials=1, seed=0)
        found.verbose = 0
        found._set_project_dir(tmp_path, "p", f"sqlite:///{tmp_path / 'a.db'}")
        return found

    remote, local = oracle(), oracle()
    trial = remote.create_trial("remote")
    with remote.heartbeat(trial):
        time.sleep(4.5)
        assert local.create_trial("local").status == "STOPPED"
    wait_for(lambda: local.create_trial("local").status == "RUNNING", seconds=20)
    assert local.ongoing_trials["local"].attempt == 1
    trial.status = "COMPLETED"  # it was not dead after all, and comes too late
    remote.update_trial("0", {"default_objective": 5.0})
    remote.end_trial(trial)
    ours = local.ongoing_trials["local"]
    local.update_trial("0", {"default_objective": 1.0})
    ours.status = "COMPLETED"
    local.end_trial(ours)
    assert oracle().trials["0"].score == 1.0 == remote.get_best_trials()[0].score


def test_any_storage_of_optuna(tmp_path):
    backend = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(tmp_path / "journal")))

    class Search(kt.BayesianOptimization):
        def run_trial(self, trial):
            return trial.hyperparameters.Float("x", 0, 1)

    for _ in range(2):
        tuner = Search(max_trials=8, num_initial_points=2, seed=0, directory=tmp_path, storage=backend)
        tuner.oracle.verbose = 0
        tuner.search()
    assert len(outcome(tuner)) == 8
