#!/usr/bin/env python3
"""Reproduces the results on text: bracketed arithmetic, and the King James Bible (from Debian's package bible-kjv).

    python launch/texts.py --out runs/texts               # a day on one core; the same command resumes
    python launch/texts.py --out runs/texts --only expressions_ar --seeds 0

Each training run uses one core, selected by --core. The scores are written to the folder of the
runs; `--results configs/results` updates the published ones.
"""

import subprocess
import sys
from pathlib import Path

from study import Model, Study, Table, main

_EXPRESSION_SCORES = {
    "valid, %": ("valid", 100),
    "true, %": ("true", 100),
    "distinct, %": ("distinct", 100),
    "distance of lengths": ("length_tv", 1),
}
_VERSE_SCORES = {
    "perplexity": ("perplexity", 1),
    "distinct 2-grams, %": ("distinct_2", 100),
    "distinct 3-grams, %": ("distinct_3", 100),
    "entropy": ("entropy", 1),
    "test perplexity": ("perplexity_real", 1),
    "test distinct 2-grams, %": ("distinct_2_real", 100),
    "test distinct 3-grams, %": ("distinct_3_real", 100),
    "test entropy": ("entropy_real", 1),
}
_MINUTES = "Minutes: CPU time of training on one core."
_ABOUT_EXPRESSIONS = (
    "Bracketed arithmetic expressions with their values, up to 64 tokens; 1,000 samples, checked by a parser. "
    "Distance of lengths: "
    f"total variation distance between the length distributions of the samples and of the data. {_MINUTES}"
)
_ABOUT_VERSES = (
    "Verses of the King James Bible, up to 64 tokens from a vocabulary of 1,024; 1,000 samples. Perplexity is measured "
    "with the autoregressive model of the same seed; in the first row, it scores its own samples. Entropy is the mean "
    f"entropy of the tokens within a verse, in nats. {_MINUTES}"
)


def _expressions(title: str, variant: str, cells: dict[str, list[str]]) -> Model:
    return Model(title, f"expressions:{variant}", (), (), cells)


def _verses(title: str, variant: str, cells: dict[str, list[str]], *arguments: str) -> Model:
    data = "--config.data.path={verses}"
    return Model(title, f"verses:{variant}", (data, *arguments), ("verses",), cells, judges=("verses_ar",))


def _judged(*options: str) -> list[str]:
    return [*options, "--baseline", "{verses_ar}"]


def _by_blocks(steps: int, td: float = 0.0) -> list[str]:
    return ["--steps", f"{steps}", "--td", f"{td}"]


_LAGGED = ["--steps", "64", "--td", "0", "--lag", "16"]
_EXPRESSIONS = {
    "expressions_ar": _expressions("autoregressive", "autoregressive", {"64": ["--beams", "1"]}),
    "expressions_blocks": _expressions(
        "softmax bits, one token at a time", "blocks", {f"{64 * n}": _by_blocks(n) for n in (5, 10)}
    ),
    "expressions_softmax": _expressions("softmax bits, all tokens at once, lag 16", "softmax", {"64": _LAGGED}),
}
_VERSES = {
    "verses_ar": _verses("autoregressive", "autoregressive", {"64": _judged("--beams", "1")}),
    "verses_blocks": _verses(
        "softmax bits, one token at a time",
        "blocks",
        {f"{64 * n}": _judged(*_by_blocks(n)) for n in (5, 10)}
        | {f"640, td {td}": _judged(*_by_blocks(10, td)) for td in (0.25, 0.5, 1.0)},
    ),
    "verses_softmax": _verses("softmax bits, all tokens at once, lag 16", "softmax", {"64": _judged(*_LAGGED)}),
}


def _write_verses(out: Path, seed: int) -> Path:
    """The text, from the program `bible`; the same for every seed."""
    del seed
    path = out / "verses.txt"
    if not path.exists():
        try:
            command = ["bible", "-f", "Genesis 1:1-Revelation 22:21"]
            lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
        except FileNotFoundError:
            sys.exit("there is no program `bible`; install Debian's package bible-kjv (apt-get install bible-kjv)")
        out.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(line.split(" ", 1)[1] for line in lines) + "\n")
    return path.resolve()


STUDY = Study(
    command="python launch/texts.py",
    about="Reproduces the results on text.",
    tables={
        "expressions": Table(_EXPRESSIONS, _ABOUT_EXPRESSIONS, _EXPRESSION_SCORES, num_samples=1_000),
        "verses": Table(_VERSES, _ABOUT_VERSES, _VERSE_SCORES, num_samples=1_000),
    },
    made={"verses": _write_verses},
    owner={},
)

if __name__ == "__main__":
    main(STUDY)
