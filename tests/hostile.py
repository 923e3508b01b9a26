"""Runs commands with bad input, and checks that each is rejected with a one-line error.

    python tests/hostile.py                # every case
    python tests/hostile.py --only known   # cases whose name contains this text
    python tests/hostile.py --every 9      # every ninth, as the tests do

A case fails if the command succeeds, prints a traceback, takes more than 30 seconds, or changes the checkpoints of the
run it is given. Cases run in forks of one process that has imported everything, so each takes a second or less.
"""

import argparse
import hashlib
import importlib
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from forked import IMPORTS, run_command

sys.path.insert(0, str(Path(__file__).parent.parent))
ROOT = Path(__file__).parent.parent
LIMIT_SECONDS = 30
TINY = [
    *("--config.network.dim=8", "--config.network.multipliers=(1,)", "--config.network.attention_resolutions=()"),
    *("--config.network.head_dim=8", "--config.optimizer.warmup_steps=2", "--config.optimizer.schedule=constant"),
    *("--config.train.batch_size=16", "--config.train.steps=4", "--config.checkpoint.every_steps=2"),
    *("--config.train.sample_every_steps=0", "--config.sample.steps=3", "--config.sample.batch_size=4"),
]


class Case(NamedTuple):
    """A command that must be refused.

    name: for messages and --only.
    line: the command and its arguments.
    says: text that the message must contain.
    prepare: changes files before the command runs.
    """

    name: str
    line: list[str]
    says: str = ""
    prepare: Callable[[], object] | None = None


class Outcome(NamedTuple):
    """What a command did."""

    code: int
    output: str
    seconds: float


def run(line: list[str], folder: Path, limit: float = LIMIT_SECONDS) -> Outcome:
    """Runs a command in a fork of this process."""
    log = folder / "output.txt"
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        run_command(line, log, folder)
    code = None
    while code is None and time.monotonic() - started < limit:
        pid, status = os.waitpid(child, os.WNOHANG)
        code = os.waitstatus_to_exitcode(status) if pid else None
        time.sleep(0.02)
    if code is None:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        code = 0
    return Outcome(code, log.read_text(errors="replace"), time.monotonic() - started)


def digest(folder: Path) -> str:
    """A hash of the checkpoints of a run."""
    found = hashlib.sha256()
    for path in sorted((folder / "checkpoints").rglob("*")):
        if path.is_file():
            found.update(path.name.encode() + path.read_bytes())
    return found.hexdigest()


def problem(case: Case, outcome: Outcome) -> str:
    """What is wrong with an outcome; '' if nothing is."""
    if outcome.seconds >= LIMIT_SECONDS:
        return "it hung"
    if "Traceback" in outcome.output or "stack trace" in outcome.output:
        return "it printed a traceback"
    if outcome.code == 0:
        return "it was not refused"
    if outcome.code not in (1, 2, 4):
        return f"its exit code was {outcome.code}"
    if case.says not in outcome.output:
        return f"its message does not contain {case.says!r}"
    if "error: " not in outcome.output:
        return "it printed no error"
    return ""


def config_cases(folder: Path) -> Iterator[Case]:
    """Bad fields on the command line."""
    train = ["train", "--config", "digits", "--workdir", str(folder / "new")]
    bad = {
        "network.dim": ["0", "-32", "1.5", "x", "10000000"],
        "network.multipliers": ["()", "(0,)", "(1,'a')", "x"],
        "network.blocks": ["0", "-1"],
        "network.head_dim": ["0"],
        "network.name": ["resnet", ""],
        "network.dropout": ["1", "-0.1", "nan"],
        "network.dtype": ["float64", "int8"],
        "network.out_size": ["0", "-3"],
        "train.batch_size": ["0", "-64", "1000000000000", "7.5", "x"],
        "train.steps": ["0", "-1", "1000000000000", "nan", "__import__('os').system('touch pwned')"],
        "train.accumulate": ["0", "-1", "7"],
        "train.log_every_steps": ["0", "-5"],
        "optimizer.learning_rate": ["nan", "inf", "-0.001", "0", "1e9", "fast"],
        "optimizer.clip_norm": ["nan", "-1", "inf"],
        "optimizer.warmup_steps": ["-1", "1e3"],
        "optimizer.ema_decay": ["1", "-0.5", "nan"],
        "optimizer.name": ["sgd"],
        "optimizer.schedule": ["step"],
        "optimizer.b1": ["1", "-1", "nan"],
        "checkpoint.keep": ["0", "-1"],
        "checkpoint.every_steps": ["0", "-1"],
        "checkpoint.best_metric": ["fid"],
        "diffusion.schedule": ["cosin"],
        "diffusion.loss": ["l1"],
        "diffusion.prediction": ["score"],
        "diffusion.self_cond_rate": ["-0.1", "1.1", "nan"],
        "diffusion.label_dropout": ["1", "-1", "nan"],
        "diffusion.lag": ["2", "-1", "nan"],
        "bits.encoding": ["grey", ""],
        "bits.scale": ["0", "-1", "nan", "inf"],
        "data.name": ["mnist", ""],
        "data.image_size": ["-8", "9", "100000"],
        "data.channels": ["2", "-1"],
        "data.vocab_size": ["-1", "1", "16"],
        "data.num_classes": ["-2", "3"],
        "data.crop": ["0", "2", "nan"],
        "data.flip": ["maybe"],
        "data.prefetch_batches": ["-1"],
        "sample.steps": ["-1", "1000000000000"],
        "sample.td": ["nan", "-1", "inf"],
        "sample.batch_size": ["0", "-1"],
        "sample.guidance": ["1e38", "nan"],
        "sample.restarts": ["((1,2),)", "x"],
        "sample.churn": ["(1,2)", "x"],
        "sample.sampler": ["euler"],
        "seed": ["-1", "4294967296", "x"],
        "task": ["audio", "tokens"],
        "nothing": ["3"],
        "train": ["3"],
    }
    for field, values in bad.items():
        for value in values:
            yield Case(f"config.{field}={value}", [*train, f"--config.{field}={value}"])


def config_file_cases(folder: Path) -> Iterator[Case]:
    """Config files that cannot be used."""
    texts = {
        "syntax": "def get_config(:",
        "nothing": "x = 3",
        "exits": "import sys\nsys.exit(3)",
        "raises": "def get_config():\n    raise RuntimeError('no')",
        "none": "def get_config():\n    return None",
        "imports": "import nothing_of_that_name",
        "empty": "import ml_collections\ndef get_config():\n    return ml_collections.ConfigDict()",
        "typo": "from bitdiff.configuration import base_config\n"
        "def get_config():\n    c = base_config()\n    c.train.step = 3\n    return c",
    }
    for name, text in texts.items():
        path = folder / f"config_{name}.py"
        path.write_text(text)
        yield Case(f"config file {name}", ["train", "--config", str(path), "--workdir", str(folder / "new")])
    for name in ("digits:nothing", "no_such_config", "no/such/file.py", "", "digits:gray:uint"):
        yield Case(f"config {name!r}", ["train", "--config", name, "--workdir", str(folder / "new")])


def workdir_cases(folder: Path, run_folder: Path) -> Iterator[Case]:
    """Workdirs that cannot be used, and damaged runs."""
    (folder / "a_file").write_text("x")
    for name, place in {
        "file": str(folder / "a_file"),
        "below a file": str(folder / "a_file" / "run"),
        "url": "gs://bucket/run",
        "not utf-8": "run\udcff",
        "proc": "/proc/nothing/run",
        "empty": "",
    }.items():
        yield Case(f"workdir {name}", ["train", "--config", "digits", "--workdir", place])
        yield Case(f"sample workdir {name}", ["sample", "--workdir", place])
    line = ["train", "--config", "digits:gray", *TINY, "--workdir", str(run_folder)]
    yield Case("other config", line, "a different config")
    damaged = folder / "damaged"
    original = json.loads((run_folder / "config.json").read_text())
    texts = {
        "list": "[]",
        "text": '"text"',
        "number": "3",
        "null": "null",
        "empty": "",
        "half": json.dumps(original)[:200],
        "deep": "[" * 100_000,
        "bytes": "\x00\x01",
        "no train": json.dumps({k: v for k, v in original.items() if k != "train"}),
    }
    changes = {
        "network.dim": [0, -8, "8", None, 1e9, [8]],
        "network.multipliers": [[], "x", [0]],
        "train.batch_size": ["many", -1],
        "data.vocab_size": [0, 2**40, "x"],
        "data.image_size": [-1, 10**7],
        "bits.encoding": [3, "grey"],
        "optimizer.ema_decay": ["x", 2],
        "optimizer.learning_rate": [float("nan"), -1],
        "sample.steps": ["x", -3],
        "task": ["audio", 7],
        "network": [[], "unet", {}],
        "extra": [1],
    }
    for field, values in changes.items():
        for value in values:
            content = json.loads(json.dumps(original))
            *parts, last = field.split(".")
            section = content
            for part in parts:
                section = section[part]
            section[last] = value
            texts[f"{field}={value!r}"[:40]] = json.dumps(content)
    for name, text in texts.items():

        def prepare(text=text):
            damaged.mkdir(exist_ok=True)
            if not (damaged / "checkpoints").exists():
                (damaged / "checkpoints").symlink_to(run_folder / "checkpoints")
            (damaged / "config.json").write_text(text)

        for command in ("sample", "evaluate") if len(name) % 2 else ("sample",):
            yield Case(f"{command} config.json {name}", [command, "--workdir", str(damaged)], "", prepare)


def sampling_cases(folder: Path, run_folder: Path) -> Iterator[Case]:
    """Bad options of sample, evaluate and sweep."""
    bad = {
        "labels": ["99", "-2", "a", ""],
        "td": ["nan", "-1", "inf", "x"],
        "steps": ["0", "-1", "1000000000000", "x"],
        "guidance": ["1e38", "nan", "x"],
        "sampler": ["foo", "beam", ""],
        "schedule": ["foo"],
        "num_samples": ["0", "-1", "x", "2000000000"],
        "batch_size": ["0", "-1"],
        "seed": ["-1", "2147483648"],
        "momentum": ["1", "-1", "nan"],
        "lag": ["1", "-1"],
        "beams": ["2", "0"],
        "temperature": ["0.5", "0", "nan"],
        "churn_fraction": ["-1", "nan", "x"],
        "churn": ["1,2", "x,y,z", "-1,0,1"],
        "restarts": ["1:2", "a:b:c:d", "1:1:0.1:1", "4:1:1:0.1", "4:100000000:0.1:1"],
        "image_guidance": ["1"],
        "latent_guidance": ["1"],
        "checkpoint": ["best", "99", "abc", "-1"],
        "weights": ["mean"],
        "prior_steps": ["5"],
    }
    base = ["--workdir", str(run_folder)]
    for option, values in bad.items():
        for value in values:
            says = {"checkpoint": "checkpoint", "num_samples": "samples"}.get(option, option)
            yield Case(f"sample --{option}={value}", ["sample", *base, f"--{option}={value}"], says)
    many = ["--num_samples", "20000000", "--batch_size", "20000000", "--out", str(folder / "many")]
    yield Case("sample a huge batch", ["sample", *base, *many, "--shard_size", "20000000"], "needs an array")
    for option, value in (("td", "nan"), ("checkpoint", "best"), ("guidance", "1e38"), ("data_path", "/no/such")):
        yield Case(f"evaluate --{option}={value}", ["evaluate", *base, f"--{option}={value}"])
    for arguments in (["--tokenizer", "words"], ["--inception", "x.npz"], ["--reference", "x.npz"]):
        yield Case(f"evaluate {arguments}", ["evaluate", *base, *arguments])
    for axis, value in (
        ("steps", "0"),
        ("steps", "a"),
        ("td", ""),
        ("sampler", "foo"),
        ("beams", "x"),
        ("lag", "3"),
        ("temperature", "-1"),
    ):
        yield Case(f"sweep --{axis}={value}", ["sweep", *base, f"--{axis}={value}"])
    for arguments in (
        ["--out", str(folder / "d")],
        ["--out", "x.npz"],
        ["--out", str(folder / "d"), "--num_samples", "1"],
    ):
        yield Case(
            f"distill {arguments}", ["distill", *base, *arguments], "distill" if "x.npz" not in arguments else "--out"
        )
    for option, value in (("power", "0"), ("levels", "1"), ("bins", "x"), ("rounds", "0")):
        yield Case(f"schedule --{option}={value}", ["schedule", *base, f"--{option}={value}"], option)
    yield Case("sample along an unmeasured schedule", ["sample", *base, "--schedule", "measured"], "measured")
    yield Case("evaluate several candidates of images", ["evaluate", *base, "--candidates", "3"], "candidates")
    sample = ["sample", *base, "--num_samples", "4"]
    for out in ("no/such/folder/x.npz", "x.txt", "gs://b/x.npz", str(folder / "a_file" / "x.npz"), "/proc/x.npz"):
        yield Case(f"sample --out {out}", [*sample, "--out", out])
    for arguments in (["--format", "foo"], ["--shard_size", "0", "--out", "many"], ["--frames", "99"], ["extra"]):
        yield Case(f"sample {arguments}", [*sample, *arguments])
    yield Case("sample --nothing", [*sample, "--nothing"])


def file_cases(folder: Path, run_folder: Path) -> Iterator[Case]:
    """Files of known values, of data, and of weights that cannot be used."""
    rng = np.random.default_rng(0)
    files = {
        "random": rng.bytes(1000),
        "empty": b"",
        "zip": b"PK\x03\x04" + rng.bytes(100),
        "text": b"hello",
    }
    for name, content in files.items():
        (folder / f"{name}.npz").write_bytes(content)
    np.savez(folder / "objects.npz", image=np.array([{}], dtype=object))
    np.savez(folder / "names.npz", picture=np.zeros((2, 8, 8, 1), np.uint8))
    np.savez(folder / "shape.npz", image=np.zeros((2, 9, 9, 1), np.int32))
    np.savez(folder / "values.npz", image=np.full((2, 8, 8, 1), 99, np.int32))
    np.savez(folder / "floats.npz", image=np.zeros((2, 8, 8, 1)))
    np.savez(folder / "none.npz", image=np.zeros((0, 8, 8, 1), np.int32))
    np.savez(folder / "nan.npz", tokens=np.full((4, 3), np.nan))
    np.savez(folder / "negative.npz", tokens=np.full((40, 3), -5))
    np.savez(folder / "labels.npz", image=np.zeros((40, 8, 8, 1), np.uint8), label=np.zeros(3, int))
    os.mkfifo(folder / "fifo.npz")
    names = (*files, "objects", "names", "shape", "values", "floats", "none", "fifo", "absent")
    for name in names:
        path = str(folder / f"{name}.npz")
        says = "not an .npz file" if name in ("random", "empty", "text") else "--known"
        yield Case(f"known {name}", ["sample", "--workdir", str(run_folder), "--known", path], says)
    train = ["--workdir", str(folder / "new"), *TINY[4:]]
    for name in (*names, "nan", "negative", "labels"):
        if name in ("values", "shape"):
            continue  # these are valid data
        line = ["train", "--config", "npz:image", f"--config.data.path={folder / name}.npz", *train]
        yield Case(f"npz {name}", line)
    yield Case("known positions", ["sample", "--workdir", str(run_folder), "--known_positions", "0"], "known")
    for command, flag in (("convert_inception", "--weights"), ("reference", "--inception")):
        line = [command, flag, str(folder / "random.npz"), "--out", str(folder / "x.npz")]
        yield Case(f"{command} random", [*line, *(["--config", "digits"] if command == "reference" else [])])


def folder_cases(folder: Path) -> Iterator[Case]:
    """Folders of images and text files that cannot be used."""
    from PIL import Image

    places = {name: folder / f"images_{name}" for name in ("none", "fifo", "broken", "sizes", "mixed", "deep")}
    for place in places.values():
        place.mkdir()
    os.mkfifo(places["fifo"] / "a.png")
    (places["broken"] / "a.png").write_bytes(b"\x89PNG" + b"x" * 50)
    for i in (8, 9):
        Image.new("RGB", (i, i)).save(places["sizes"] / f"{i}.png")
    Image.new("RGB", (8, 8)).save(places["mixed"] / "a.png")
    (places["mixed"] / "class").mkdir()
    Image.new("RGB", (8, 8)).save(places["mixed"] / "class" / "a.png")
    Image.new("I;16", (8, 8)).save(places["deep"] / "a.png")
    train = ["--workdir", str(folder / "new"), *TINY[4:]]
    for name, place in {**places, "absent": folder / "nowhere"}.items():
        yield Case(f"folder {name}", ["train", "--config", "folder", f"--config.data.path={place}", *train])
    yield Case("folder unset", ["train", "--config", "folder", *train])
    texts = {"empty": b"", "blank": b"\n\n", "binary": b"\xff\xfe\x00x", "long": b"word " * 500}
    for name, content in texts.items():
        (folder / f"{name}.txt").write_bytes(content)
    os.mkfifo(folder / "fifo.txt")
    for name in (*texts, "fifo", "absent"):
        line = ["train", "--config", "text", f"--config.data.path={folder / name}.txt", *train]
        yield Case(f"text {name}", line)
        if name != "long":
            line = ["train_tokenizer", "--input", str(folder / f"{name}.txt"), "--out", "t.model"]
            yield Case(f"tokenizer {name}", line)


def command_cases(folder: Path, run_folder: Path) -> Iterator[Case]:
    """Missing and nonsensical arguments of the other commands."""
    place = str(run_folder)
    lines = {
        "train": [[], ["--config", "digits"], ["--workdir", "x"]],
        "sample": [[], ["--workdir", "nowhere"]],
        "evaluate": [[], ["--workdir", "nowhere"]],
        "sweep": [[], ["--workdir", "nowhere"]],
        "compare": [[], ["--workdirs", "nowhere", "--score", "x"], ["--workdirs", place, "--score", "x"]],
        "export": [[], ["--workdir", place], ["--workdir", place, "--out", place]],
        "benchmark": [[], ["--config", "digits", "--parts", "everything"], ["--compare", "a,b"], ["--compare", "a"]],
        "losses": [[], ["--workdirs", "nowhere", "--out", "x.png"], ["--workdirs", place, "--out", "x.txt"]],
        "trajectories": [[], ["--workdirs", place, "--out", "x.png"]],
        "reference": [[], ["--config", "digits"]],
        "prepare": [[], ["--config", "digits"]],
        "train_tokenizer": [[], ["--input", "nowhere", "--out", "x.model"]],
        "convert_inception": [[], ["--weights", "nowhere", "--out", "x.npz"]],
    }
    for command, many in lines.items():
        for arguments in many:
            yield Case(f"{command} {arguments}", [command, *arguments])
    (folder / "x.json").write_text("{}")
    line = ["benchmark", "--compare", f"{folder / 'x.json'},{folder / 'x.json'}"]
    yield Case("benchmark empty reports", line)
    yield Case("platform", ["sample", "--workdir", place, "--platform", "tpu"])
    yield Case("coordinator", ["sample", "--workdir", place, "--num_processes", "2"])


def cases(folder: Path, run_folder: Path) -> list[Case]:
    """All cases."""
    return [
        *config_cases(folder),
        *config_file_cases(folder),
        *workdir_cases(folder, run_folder),
        *sampling_cases(folder, run_folder),
        *file_cases(folder, run_folder),
        *folder_cases(folder),
        *command_cases(folder, run_folder),
    ]


def main() -> int:
    """Runs the cases and returns the number of those that failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="text that the names of the cases must contain")
    parser.add_argument("--every", type=int, default=1, help="runs every n-th case")
    parser.add_argument("--show", action="store_true", help="prints the messages")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        run_folder = folder / "run"
        trained = run(["train", "--config", "digits", *TINY, "--workdir", str(run_folder)], folder, limit=300)
        if trained.code or not (run_folder / "checkpoints").exists():
            print(trained.output)
            return 1
        before = digest(run_folder)
        chosen = [case for case in cases(folder, run_folder) if given.only in case.name][:: given.every]
        failures = 0
        for case in chosen:
            if case.prepare:
                case.prepare()
            outcome = run(case.line, folder)
            wrong = problem(case, outcome) or ("" if digest(run_folder) == before else "it changed the checkpoints")
            last = outcome.output.strip()[-1500:]
            if wrong:
                failures += 1
                print(f"FAILED {case.name}: {wrong}\n{last}\n", flush=True)
            elif given.show:
                print(f"{case.name} ({outcome.code}, {outcome.seconds:.1f} s): {last[-300:]}\n", flush=True)
        print(f"{len(chosen) - failures} of {len(chosen)} commands were rejected as they should be")
        return failures


if __name__ == "__main__":
    importlib.import_module(IMPORTS)
    sys.exit(min(main(), 1))
