"""Directories and databases of the tuner that are damaged: a sentence, and what is whole is kept."""

import json
import shutil
import sqlite3
import warnings

import numpy as np
import pytest

import pydl as keras
import pydl.tuner as kt
from pydl import layers
from pydl.tuner.engine.hyperparameters import HyperParameters
from pydl.tuner.engine.storage import naming_study


class Search(kt.RandomSearch):
    def run_trial(self, trial, **options):
        return (trial.hyperparameters.Float("x", 0, 1) - 0.3) ** 2


def search(folder, trials=4):
    tuner = Search(max_trials=trials, seed=5, directory=folder, project_name="p")
    tuner.search(verbose=0)
    return tuner


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    return folder, {trial_id: trial.score for trial_id, trial in search(folder).oracle.trials.items()}


@pytest.fixture
def project(finished, tmp_path):
    """The folder of a search that has come to its end."""
    shutil.copytree(finished[0], tmp_path, dirs_exist_ok=True)
    return tmp_path


def change(folder, statement, *values):
    """Changes the database; returns how many rows were."""
    database = sqlite3.connect(folder / "p" / "study.db")
    with database:
        count = database.execute(statement, values).rowcount
    database.close()
    return count


def set_attribute(folder, trial, key, value):
    text = value if isinstance(value, str) else json.dumps(value)
    statement = "UPDATE trial_user_attributes SET value_json = ? WHERE key = ? AND trial_id = ?"
    assert change(folder, statement, text, key, trial + 1) == 1


@pytest.mark.parametrize("damage, text",
                         [(lambda content: b"no database at all" * 100, "file is not a database"),
                          (lambda content: content[: len(content) // 2], "malformed"),
                          (lambda content: content[:4096] + bytes(4096) + content[8192:], "Page 2")])
def test_a_database_that_is_damaged_is_named_and_left_alone(project, damage, text):
    path = project / "p" / "study.db"
    content = damage(path.read_bytes())
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"study\.db is damaged: .*{text}.*left as it is") as caught:
        search(project)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == content
    assert len(Search(max_trials=2, seed=5, directory=project, project_name="p", overwrite=True).oracle.trials) == 0


@pytest.mark.parametrize(
    "key, value, reason",
    [("values", "{not json", "Expecting"), ("result", "[" * 10, "Expecting"), ("index", -1, "`index` is -1"),
     ("index", 10**9, "`index` is 1000000000"), ("attempt", '"x"', "`attempt` is 'x'"),
     ("trial_id", 3, "`trial_id` is 3"), ("trial_id", '"x/../../../outside"', "`trial_id` is 'x/../../../outside'"),
     ("values", 7, "`values` is 7"), ("owner", [], r"`owner` is \[\]"), ("result", {}, "'status' is missing"),
     ("result", {"status": "SLEEPING"}, "ended as 'SLEEPING'"),
     ("result", {"status": "COMPLETED", "score": "x"}, "score is 'x'")],
)
def test_a_trial_whose_record_is_damaged_is_left_out(project, finished, key, value, reason):
    scores = finished[1]
    if key == "values":  # what was proposed counts where what came of it is missing
        change(project, "DELETE FROM trial_user_attributes WHERE key = 'final' AND trial_id = 3")
    set_attribute(project, 2, key, value)
    with pytest.warns(UserWarning, match=f"Trial number 2 of the study 'p' .* left out: .*{reason}"):
        tuner = search(project, trials=6)
    kept = tuner.oracle.trials
    assert {i: kept[i].score for i in ("0", "1", "3")} == {i: scores[i] for i in ("0", "1", "3")}
    whole = [t for t in kept.values() if t.status == "COMPLETED"]
    assert len(whole) == 5 and len(kept) == 6 and kept["2"].status == "FAILED"
    with warnings.catch_warnings():  # said once by each process that reads
        warnings.simplefilter("error")
        assert tuner.get_best_hyperparameters()[0].values == min(whole, key=lambda t: t.score).hyperparameters.values


def test_metrics_that_are_damaged_are_left_out(project):
    set_attribute(project, 1, "result", {"status": "COMPLETED", "score": 0.5, "metrics": {"metrics": {"x": 3}}})
    with pytest.warns(UserWarning, match=r"metrics of trial 1 are damaged and left out: config.*MetricHistory"):
        trials = search(project).oracle.trials
    assert trials["1"].score == 0.5 and not trials["1"].metrics.metrics and len(trials) == 4


@pytest.mark.parametrize(
    "key, value, text",
    [("space", 3, "search space"), ("space", [{"class_name": "Int", "config": {"name": "x"}}], r"config\.space\[0\]"),
     ("space", [{"class_name": "Thing", "config": {}}], "expected one of Int, Float"), ("space", "{", "study 'p'"),
     ("seed", "x", "seed"), ("seed", [1], "seed")],
)
def test_settings_that_are_damaged_are_named(project, key, value, text):
    change(project, "UPDATE study_user_attributes SET value_json = ? WHERE key = ?",
           value if value == "{" else json.dumps(value), key)
    with pytest.raises(ValueError, match=text):
        search(project)


def test_a_name_that_is_no_text(project):
    """SQLite's quick check does not look at texts."""
    change(project, "UPDATE study_user_attributes SET key = CAST(? AS TEXT) WHERE key = 'space'", b"spa\xffe")
    with pytest.raises(ValueError, match="study 'p' .* is damaged: Could not decode to UTF-8"):
        search(project)


def test_a_database_that_somebody_writes_to_is_not_damaged():
    with pytest.raises(sqlite3.OperationalError, match="locked"), naming_study("p", "x"):
        raise sqlite3.OperationalError("database is locked")


def test_files_of_trials(tmp_path):
    def build(hp):
        model = keras.Sequential([layers.Dense(hp.Int("units", 1, 3)), layers.Dense(1)])  # built by its data
        model.compile("sgd", "mse")
        return model

    tuner = kt.RandomSearch(build, "loss", max_trials=1, seed=0, directory=tmp_path, project_name="p")
    tuner.search(np.ones((4, 2), "float32"), np.ones(4, "float32"), epochs=1, verbose=0)
    assert tuner.get_best_models()[0].built
    folder = next((tmp_path / "p").glob("trial_*"))
    shapes = (folder / "build_config.json").read_text()
    for text in ("{", "[" * 9999, '{"input_shape": [null, -2]}', "7"):
        (folder / "build_config.json").write_text(text)
        with pytest.raises(ValueError, match=r"build_config\.json"):
            tuner.get_best_models()
    (folder / "build_config.json").write_text(shapes)
    weights = folder / "checkpoint.weights.h5"
    weights.write_bytes(weights.read_bytes()[:3000])
    with pytest.raises(ValueError, match=r"checkpoint\.weights\.h5"):
        tuner.get_best_models()


def test_configs_of_spaces():
    for config, text in (
        ({}, "'space' is missing"),
        ({"space": [3], "values": {}}, r"config\.space|config"),
        ({"space": [{"class_name": "Float", "config": {"name": "x", "min_value": "a", "max_value": 1}}],
          "values": {}}, r"config\.space\[0\]\.config \(Float 'x'\): .*'a'"),
        ({"space": [], "values": 3}, "config"),
    ):
        with pytest.raises(ValueError, match=text):
            HyperParameters.from_config(config)


def test_a_value_that_is_missing_is_the_default():
    hps = HyperParameters()
    assert hps.Int("n", 3, 9) == 3
    hps.values = {}
    assert hps.Int("n", 3, 9) == 3 and hps.values == {"n": 3}


def test_an_interruption_is_no_damage():
    """Ctrl-C in the middle of a commit: SQLAlchemy's own cleaning up fails, and Optuna takes that for a wrong value."""
    from pydl.tuner.engine.storage import naming_study

    with pytest.raises(KeyboardInterrupt), naming_study("p", "folder"):
        try:
            try:
                raise KeyboardInterrupt
            finally:
                raise RuntimeError("this session is closed")
        except RuntimeError as error:
            raise RuntimeError("an exception is raised during the commit") from error
