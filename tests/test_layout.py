"""The house rules that a reader relies on: which module may import which, and what configs state."""

import ast
import importlib
import sys
from pathlib import Path

import jax
import pytest

from bitdiff.tasks import make_task

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "bitdiff"

# From the ground up: a module imports only from layers below its own (or from its own package).
LAYERS = [
    ["errors"],
    ["files", "launchers", "flops"],
    ["bits", "schedules", "interrupts", "parallel", "pictures", "plots", "logs", "state", "edm"],
    ["diffusion", "networks", "metrics", "data", "plans"],
    ["sampling", "checkpoints"],
    ["oracle", "workdir"],
    ["tasks"],
    ["generate", "steps"],
    ["inference", "commands"],
    ["train", "sample", "evaluate", "prepare", "reference", "convert_inception", "train_tokenizer"],
    ["sweep", "benchmark", "trajectories", "losses"],
    ["compare"],
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


def imports(path):
    """The modules of this project that a file imports, by the name of their top part below the package."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        found |= {name.split(".")[1] for name in names if name.startswith("bitdiff.")}
    return found - {"__version__"}


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_one_way(path):
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if own == "__init__":
        return
    for other in imports(path) - {own}:
        assert LEVEL[other] < LEVEL[own], f"{own} imports {other}"


def test_networks_know_no_diffusion_and_the_plumbing_no_model():
    for path in (PACKAGE / "networks").glob("*.py"):
        assert imports(path) <= {"networks", "errors"}
    for name in ("parallel", "logs"):
        assert imports(PACKAGE / f"{name}.py") <= {"errors", "launchers"}
    assert imports(PACKAGE / "checkpoints.py") <= {"errors", "parallel"}


def external(path):
    tree = ast.parse(path.read_text())
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = [
        n
        for node in nodes
        for n in ([node.module] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names])
    ]
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.py")), ids=lambda p: p.name)
def test_configs_import_no_more_than_ml_collections(path):
    assert external(path) - sys.stdlib_module_names <= {"ml_collections", "configs"}


def test_no_tensorflow_and_no_torch():
    for path in PACKAGE.rglob("*.py"):
        allowed = {"torch"} if path.name == "weights.py" else set()  # to convert a weight file, once
        assert not external(path) & {"tensorflow", "torch"} - allowed


CONFIGS = sorted(p.stem for p in (ROOT / "configs").glob("*.py") if p.stem not in ("__init__", "common"))


@pytest.mark.parametrize("name", CONFIGS)
def test_every_config_has_every_field_and_says_how_to_run_it(name):
    module = importlib.import_module(f"configs.{name}")
    config = module.get_config()
    base = importlib.import_module("configs.common").base()
    assert config.keys() == base.keys()
    for section in ("train", "checkpoint", "sample", "evaluate", "optimizer", "diffusion", "data", "bits"):
        assert config[section].keys() == base[section].keys()
    assert config.train.steps > 0
    if name not in ("npz", "folder"):  # the only ones whose sizes are the user's
        jax.eval_shape(make_task(config).init, jax.random.key(0))
    assert f"python -m bitdiff.train --config configs/{name}.py" in module.__doc__


def test_nothing_reads_what_could_run_code():
    """No pickle, no eval, no YAML but the safe kind; torch's file is read with weights_only."""
    forbidden = {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal", "yaml"}
    for path in PACKAGE.rglob("*.py"):
        assert not external(path) & forbidden, path
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            name = ast.unparse(node.func)
            keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            assert name not in ("eval", "exec"), path
            if name == "np.load":
                assert keywords.get("allow_pickle") == "False", f"{path}: {ast.unparse(node)}"
            if name == "torch.load":
                assert keywords.get("weights_only") == "True", path
