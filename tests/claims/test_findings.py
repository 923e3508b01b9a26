"""Tests of verdicts, of the catalog of claims, and of a whole check of a small claim."""

import json
import signal

import numpy as np
import pytest

from bitdiff import data
from bitdiff.claims import findings_report, measure_claim
from bitdiff.claims.catalog import CLAIMS
from bitdiff.claims.claim import Claim, Model, Point, Score, best_falls, better, higher, lower
from bitdiff.claims.claim_models import MODELS
from bitdiff.claims.claim_scores import KNOWN
from bitdiff.claims.verdicts import FAILS, HOLDS, UNDECIDED, Verdict, combine, decide
from bitdiff.configuration import load_config
from bitdiff.diffusion.step_rules import RULES
from bitdiff.figures import plots
from bitdiff.metrics import image_classifier
from bitdiff.runtime.errors import UsageError
from bitdiff.tasks import sample_options
from bitdiff.tasks.options import plan_of
from bitdiff.training import workdir


@pytest.mark.parametrize(
    ("evidence", "verdict"),
    [
        ([0.1, 0.2, 0.15], HOLDS),
        ([-0.1, -0.2, -0.15], FAILS),
        ([0.1, 0.2, -0.01], UNDECIDED),  # the seeds disagree
        ([0.01, 0.3, 0.02], UNDECIDED),  # the mean is within three standard errors of 0
        ([0.5, 0.6], UNDECIDED),  # too few seeds
        ([0.0, 0.0, 0.0], UNDECIDED),
    ],
)
def test_verdicts_follow_the_rule(evidence, verdict):
    found = decide(np.array(evidence))
    assert found.verdict == verdict
    assert found.mean == pytest.approx(np.mean(evidence))
    assert found.error == pytest.approx(np.std(evidence, ddof=1) / np.sqrt(len(evidence)))


def test_pure_noise_is_decided_one_time_in_ten():
    rng = np.random.default_rng(0)
    decided = [decide(rng.normal(size=3)).verdict != UNDECIDED for _ in range(4_000)]
    # P(|t| > 3) with two degrees of freedom is 9.5%; the standard error of this estimate is 0.5%.
    assert 0.075 < np.mean(decided) < 0.11


def test_a_claim_holds_if_all_its_evidence_does():
    holds, fails, unknown = (Verdict(0, 0, verdict) for verdict in (HOLDS, FAILS, UNDECIDED))
    assert combine([holds, holds]) == HOLDS
    assert combine([holds, unknown]) == UNDECIDED
    assert combine([unknown, fails, holds]) == FAILS


def test_evidence():
    values = {
        ("a", 1): np.array([1.0, 2.0]),
        ("a", 2): np.array([3.0, 1.0]),
        ("b", 1): np.array([2.0, 2.0]),
        ("b", 2): np.array([3.0, 4.0]),
    }
    np.testing.assert_allclose(better("a", "b", (1, 2))(values), [np.log(2) / 2, np.log(4) / 2])
    np.testing.assert_allclose(better("a", ("b", "a"), (1, 2))(values), [0, 0])  # a is the best of both
    np.testing.assert_allclose(higher("a", "b", (1, 2))(values), [-0.5, -1.5])
    np.testing.assert_allclose(higher(("a", "b"), "b", (1, 2))(values), [0, 0])
    np.testing.assert_allclose(lower("a", "b", (1, 2))(values), [0.5, 1.5])
    # The best positions of a are 1 and 2, those of b are 1 and 1.
    np.testing.assert_allclose(best_falls(("a", "b"), (1, 2))(values), [0, 1])


@pytest.mark.parametrize("name", CLAIMS)
def test_every_claim_can_be_measured(name):
    claim = CLAIMS[name]
    keys = [(point.line, point.x) for point in claim.points]
    assert len(set(keys)) == len(keys)
    values = {key: np.array([1.0, 2.0, 3.0]) for key in keys}
    for weigh in claim.evidence.values():
        assert weigh(values).shape == (3,)
    for point in claim.points:
        model = MODELS[point.model]
        config = load_config(model.config)
        config.update_from_flattened_dict(model.changes)
        options = sample_options(config.sample, **point.options)
        if options.sampler in RULES:
            plan_of(options, config.data.length)
            assert options.lag <= config.diffusion.lag
        assert not model.first or model.first in MODELS


def test_no_model_is_unused():
    used = {name for claim in CLAIMS.values() for name in claim.models}
    assert used | {MODELS[name].first for name in used} - {""} == set(MODELS)


_TINY = {
    "network.dim": 8,
    "network.multipliers": (1,),
    "optimizer.warmup_steps": 1,
    "train.steps": 4,
    "train.batch_size": 16,
    "sample.batch_size": 20,
}
_MODELS = {"plain": Model("digits", _TINY | {"diffusion.self_cond_rate": 0.0}), "own": Model("digits", _TINY)}
_CLAIM = Claim(
    statement="Four steps of training decide nothing.",
    paper="Not in the papers.",
    score=Score("judge_frechet", "distance of features"),
    points=tuple(Point(name, steps, name, {"steps": steps}) for name in _MODELS for steps in (1, 2)),
    x_label="steps",
    evidence={"own is better": better("own", "plain", (1, 2))},
    num_samples=20,
    scale="train for more than four steps.",
)


@pytest.mark.slow
def test_a_claim_is_trained_measured_and_reported_once(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(measure_claim, "_JUDGE_EPOCHS", 1)
    values = measure_claim.measure(_CLAIM, _MODELS, tmp_path, (0, 1))
    assert not isinstance(values, measure_claim.Stopped)
    assert {key: array.shape for key, array in values.values.items()} == {
        (name, steps): (2,) for name in _MODELS for steps in (1, 2)
    }
    assert "cell 1 of 2" in capsys.readouterr().out
    again = measure_claim.measure(_CLAIM, _MODELS, tmp_path, (0, 1))
    assert not isinstance(again, measure_claim.Stopped)
    assert "cell" not in capsys.readouterr().out
    assert again.real == values.real
    assert values.real is not None
    assert [sorted(facts) for facts in values.judges] == [["data", "epochs", "seed", "sha256", "test_accuracy"]]
    for key, array in again.values.items():
        np.testing.assert_array_equal(array, values.values[key])

    minutes = findings_report.Minutes({"plain_0": 10.0, "own_0": 20.0}, jobs=2, measuring=4.0)
    found = findings_report.finding(_CLAIM, values, (0, 1), minutes)
    assert found["verdict"] == UNDECIDED
    assert findings_report.is_current(_CLAIM, _MODELS, found)
    assert not findings_report.is_current(_CLAIM._replace(num_samples=30), _MODELS, found)
    sampled_otherwise = tuple(point._replace(options=point.options | {"td": 1.0}) for point in _CLAIM.points)
    assert not findings_report.is_current(_CLAIM._replace(points=sampled_otherwise), _MODELS, found)
    longer = _MODELS | {"own": Model("digits", _TINY | {"train.steps": 5})}
    assert not findings_report.is_current(_CLAIM, longer, found)
    written = findings_report.write(tmp_path, {"tiny": found})
    assert [path.name for path in written] == ["findings.json", "findings.md", "tiny.png"]
    assert all(path.stat().st_size for path in written)
    assert findings_report.read(tmp_path) == json.loads(json.dumps({"tiny": found}))
    text = (tmp_path / "findings.md").read_text()
    assert "Undecided at this scale" in text
    assert "| Distance of features; steps: | 1 | 2 |" in text
    assert f"The score of real test data is {values.real:.3g}." in text
    assert f"sha256 {values.judges[0]['sha256'][:8]}" in text
    assert "Training took about 15 minutes (2 models, 2 at a time, including models that other claims use)" in text
    assert "and measuring took 4." in text
    assert "In total, training took about 0.2 hours (2 models), and measuring took 0.1 hours." in text
    assert "A verdict requires at least 3 seeds." in text
    three = found | {"seeds": [0, 1, 2]}
    assert "A stronger test would train for more than four steps." in findings_report.markdown({"tiny": three})
    assert "(earlier version)" in findings_report.markdown({"tiny": three}, outdated=["tiny"])
    changed = _MODELS | {"own": Model("digits", _TINY | {"bits.encoding": "gray"})}
    with pytest.raises(UsageError, match=r"bits.encoding"):
        measure_claim.measure(_CLAIM, changed, tmp_path, (0,))
    missing = _CLAIM._replace(score=Score("no_such_score", ""))
    with pytest.raises(UsageError, match="has no score 'no_such_score'"):
        measure_claim.measure(missing, _MODELS, tmp_path, (0,))


@pytest.mark.slow
def test_the_bound_of_a_masked_model_is_measured_once_and_reported(tmp_path, monkeypatch):
    short = {"train.steps": 2, "train.batch_size": 16, "network.dim": 32, "optimizer.warmup_steps": 1}
    models = {"pairs": Model("mixture", short), "masked": Model("mixture:masked", short)}
    points = tuple(Point(f"line of {name}", steps, name, {"steps": steps}) for name in models for steps in (1, 2))
    claim = _CLAIM._replace(score=KNOWN, points=points, evidence={"none": lambda found: found["line of masked", 1]})
    measured = measure_claim.measure(claim, models, tmp_path, (0, 1))
    assert not isinstance(measured, measure_claim.Stopped)
    assert list(measured.bounds) == ["line of masked"]
    bound = measured.bounds["line of masked"]
    assert bound["about"] == "upper bound on the bits per value of 2,000 test examples"
    # Two training steps leave the two tokens close to uniform.
    assert bound["values"] == pytest.approx([np.log2(load_config("mixture").data.vocab_size)] * 2, rel=0.1)
    monkeypatch.setattr(measure_claim, "bits_per_value", lambda run, dataset: pytest.fail("measured again"))
    assert measure_claim.measure(claim, models, tmp_path, (0, 1)).bounds == measured.bounds
    found = findings_report.finding(claim, measured, (0, 1), findings_report.Minutes({"pairs_0": 1.0}, 1, 1.0))
    text = findings_report.markdown({"": found})
    assert f"Line of masked: {bound['about']}, {np.mean(bound['values']):.3g} ±" in text


def test_a_judge_trained_with_other_settings_or_data_is_replaced(tmp_path, monkeypatch):
    dataset = data.load(load_config("digits").data)
    trained = []

    def train_judge(dataset, *, epochs, seed):
        trained.append(epochs)
        variables = {"params": {"weights": np.full(3, float(epochs), np.float32)}}
        about = {"data": dataset.about, "epochs": epochs, "seed": seed, "test_accuracy": 1.0}
        return image_classifier.describe(variables, shape=(8, 8, 1), vocab_size=17, num_classes=10, about=about)

    monkeypatch.setattr(measure_claim, "train_judge", train_judge)
    for epochs in (1, 1, 2, 2):
        monkeypatch.setattr(measure_claim, "_JUDGE_EPOCHS", epochs)
        measure_claim._judge(tmp_path, load_config("digits").data, dataset)
    assert trained == [1, 2]
    measure_claim._judge(tmp_path, load_config("digits").data, dataset._replace(about="other data"))
    assert trained == [1, 2, 2]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["curvature_of_points", "curvature_of_digits"])
def test_curvature_is_measured_at_every_level_of_the_claim(tmp_path, name):
    short = {"train.steps": 2, "train.batch_size": 16, "network.dim": 8, "optimizer.warmup_steps": 1}
    if name == "curvature_of_digits":
        short |= {"network.head_dim": 8, "network.multipliers": (1,), "network.attention_resolutions": (8,)}
    claim = CLAIMS[name]._replace(num_samples=10)
    models = {model: MODELS[model]._replace(changes=short) for model in claim.models}
    values = measure_claim.measure(claim, models, tmp_path, (0,))
    assert not isinstance(values, measure_claim.Stopped)
    assert values.values.keys() == {(point.line, point.x) for point in claim.points}
    assert all(value > 0 for value in values.values.values())
    assert values.real is None
    again = measure_claim.measure(claim._replace(curve=lambda run, count: pytest.fail("again")), models, tmp_path, (0,))
    assert not isinstance(again, measure_claim.Stopped)
    assert {key: list(array) for key, array in again.values.items()} == {
        key: list(array) for key, array in values.values.items()
    }


def test_tick_labels_do_not_overlap():
    assert plots._spaced([5, 9, 10, 19, 20, 39, 40]) == ["5", "", "10", "", "20", "", "40"]
    assert plots._spaced([750, 1_500, 3_000]) == ["750", "1500", "3000"]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (
            ["self_conditionin"],
            "unknown claim 'self_conditionin'; valid names are: self_conditioning",
        ),
        (["--seeds", "0,0"], "--seeds is 0,0; it must list distinct integers"),
        (["--seeds", "one"], "--seeds"),
        (["--jobs", "0"], "--jobs"),
    ],
)
def test_invalid_flags_are_reported(command, tmp_path, arguments, problem):
    code, output = command("findings", "--workdir", tmp_path / "findings", *arguments)
    assert code in (1, 2)
    assert problem in output
    assert not (tmp_path / "findings").exists()


def test_a_claim_without_data_does_not_stop_the_others(command, tmp_path):
    missing = tmp_path / "missing"
    arguments = ("--workdir", tmp_path, "td", "bimodal", "--seeds", "0", "--fashion", missing)
    code, output = command("findings", *arguments)
    assert code == 2
    for name in ("td", "bimodal"):
        assert f"claim {name} was not checked: " in output
    assert "2 of 2 claims were not checked; " in output
    assert str(missing) in output
    assert "install Debian's package dataset-fashion-mnist, or pass another folder as --fashion" in output


@pytest.mark.slow
def test_a_stopped_command_saves_and_the_next_one_resumes(command, tmp_path):
    arguments = ("findings", "--workdir", tmp_path, "curvature_of_points", "--seeds", "0", "--jobs", "1")
    for attempt in (1, 2):
        process = command.start(*arguments)
        output = ""
        while "step/s" not in output:  # the progress bar
            output += process.stdout.read(1)
            assert process.poll() is None, output
        process.send_signal(signal.SIGTERM)
        output += process.communicate(timeout=300)[0]
        assert process.returncode == 128 + signal.SIGTERM, output
        assert ("resuming from step 1 " in output) == (attempt == 2), output
    assert workdir.has_checkpoints(tmp_path / "toy_0")
    assert not (tmp_path / "findings.json").exists()
