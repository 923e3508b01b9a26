"""Lists the commands: python -m bitdiff."""

import ast
from pathlib import Path


def commands() -> dict[str, str]:
    """The commands by name, with the first sentence of their docstrings."""
    about = {}
    for path in sorted(Path(__file__).parent.glob("*.py")):
        if not path.stem.startswith("_"):
            first = (ast.get_docstring(ast.parse(path.read_text())) or "").splitlines()[0]
            about[path.stem] = first.partition(": python")[0].rstrip(".")
    return about


def main() -> None:
    """Prints the commands."""
    print("Usage: python -m bitdiff.COMMAND --flags (--help lists the flags)\n")
    width = max(map(len, commands()))
    for name, about in commands().items():
        print(f"  {name:<{width}}  {about}")


if __name__ == "__main__":
    main()
