"""The layout rules that readers rely on: subpackages, import directions, and what configs contain."""

import ast
import importlib
import sys
from collections import Counter
from pathlib import Path

import jax
import pytest

from bitdiff.__main__ import commands
from bitdiff.tasks import make_task

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "bitdiff"

# From the bottom up: a subpackage imports only from lower levels or from itself.
LEVELS = [
    ["runtime", "configs"],
    ["diffusion", "networks", "data", "metrics", "figures", "configuration"],
    ["conditions"],
    ["tasks"],
    ["training"],
    ["inference"],
    ["evaluation"],
    ["planning", "claims"],
    ["cli"],
    ["commands"],
]
LEVEL = {subpackage: level for level, subpackages in enumerate(LEVELS) for subpackage in subpackages}
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")


def subpackage_of(path):
    parts = path.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else "commands"


def imported_modules(path):
    """The modules of this project that a file imports, as dotted names relative to the package."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name.removeprefix("bitdiff.") for name in found if name.startswith("bitdiff.")}


def imported_subpackages(path):
    subpackages = set()
    for name in imported_modules(path):
        first = name.split(".")[0]
        subpackages.add(first if first in LEVEL else "commands")
    return subpackages


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_only_to_lower_levels(path):
    subpackage = subpackage_of(path)
    for other in imported_subpackages(path) - {subpackage}:
        assert LEVEL[other] < LEVEL[subpackage], f"{subpackage} imports {other}"


def test_file_names_are_unique():
    names = Counter(path.name for path in [*MODULES, *(ROOT / "configs").glob("*.py")] if path.name != "__init__.py")
    assert not [name for name, count in names.items() if count > 1]


def test_every_top_level_module_is_a_command():
    for name in commands():
        source = (PACKAGE / f"{name}.py").read_text()
        assert "def define_flags() -> None:" in source, name
        assert "command.run(main" in source, name
    described = commands()
    assert len(set(described.values())) == len(described)
    assert all(about for about in described.values())


def test_tests_mirror_the_subpackages():
    subpackages = {path.name for path in PACKAGE.iterdir() if path.is_dir() and (path / "__init__.py").exists()}
    folders = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir() and any(path.glob("test_*.py"))}
    assert folders - subpackages <= {"commands", "launch", "documents"}


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_only_commands_and_their_plumbing_read_flags(path):
    if subpackage_of(path) not in ("commands", "cli"):
        assert "absl" not in external(path)


def test_tasks_do_not_read_files():
    for path in [*(PACKAGE / "tasks").glob("*.py"), *(PACKAGE / "conditions").glob("*.py")]:
        assert "pathlib" not in external(path), path
        assert not {name for name in imported_modules(path) if name.startswith("runtime.files")}, path


def test_the_command_plumbing_does_not_depend_on_config_fields():
    source = (PACKAGE / "cli" / "command.py").read_text()
    assert "diffusion" not in source
    assert "train." not in source


def test_networks_do_not_depend_on_diffusion_nor_the_runtime_on_models():
    for path in (PACKAGE / "networks").glob("*.py"):
        assert imported_subpackages(path) <= {"networks", "runtime"}
    for subpackage in ("runtime", "figures"):
        for path in (PACKAGE / subpackage).glob("*.py"):
            assert imported_subpackages(path) <= {subpackage, "runtime"}


def long_functions(path, limit=60):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
            doc = ast.get_docstring(node, clean=False)
            length = node.end_lineno - node.lineno + 1 - (doc.count("\n") + 1 if doc else 0)
            if length > limit:
                yield f"{path.name}:{node.name} has {length} lines"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_functions_fit_on_a_screen(path):
    assert not list(long_functions(path))


def external(path):
    tree = ast.parse(path.read_text())
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = [
        name
        for node in nodes
        for name in ([node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names])
    ]
    return {name.split(".")[0] for name in names}


def unannotated(path):
    """Public functions and methods with an unannotated argument or result."""
    tree = ast.parse(path.read_text())
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_")]
    for scope in [tree, *classes]:
        for node in scope.body:
            if not isinstance(node, ast.FunctionDef) or node.name.startswith("_"):
                continue
            arguments = [a for a in [*node.args.args, *node.args.kwonlyargs] if a.arg not in ("self", "cls")]
            if node.returns is None or any(argument.annotation is None for argument in arguments):
                yield node.name


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_public_functions_are_annotated(path):
    assert not list(unannotated(path))


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.py")), ids=lambda p: p.name)
def test_configs_import_only_the_configuration(path):
    assert external(path) - sys.stdlib_module_names <= {"ml_collections", "bitdiff"}
    assert {name.split(".")[0] for name in imported_modules(path)} <= {"configs", "configuration"}


def test_the_package_does_not_import_tensorflow_or_torch():
    for path in PACKAGE.rglob("*.py"):
        allowed = {"torch"} if path.name == "inception_weights.py" else set()  # to convert a weight file once
        assert not external(path) & {"tensorflow", "torch"} - allowed


CONFIGS = sorted(p.stem for p in (ROOT / "configs").glob("*.py") if p.stem != "__init__")


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.slow
def test_every_config_has_every_field_and_documents_its_command(name):
    module = importlib.import_module(f"bitdiff.configs.{name}")
    config = module.get_config()
    base = importlib.import_module("bitdiff.configuration").base_config()
    assert config.keys() == base.keys()
    for section in ("train", "checkpoint", "sample", "evaluate", "optimizer", "diffusion", "data", "bits"):
        assert config[section].keys() == base[section].keys()
    assert config.train.steps > 0
    if name not in ("npz", "folder"):  # the only configs whose sizes come from the user's data
        jax.eval_shape(make_task(config).init, jax.random.key(0))
    assert f"python -m bitdiff.train --config configs/{name}.py" in module.__doc__


def test_no_loader_can_execute_code():
    """No pickle, eval or YAML; NumPy loads without pickle, and torch with weights_only."""
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
