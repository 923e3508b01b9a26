#!/usr/bin/env python3
"""Shows what the latents of captions mean: python launch/codes.py --workdir runs/captions/full_0.

Infers the latents of all six captions of each test picture, counts how often each code occurs with each form of
caption, and writes captions_codes.json to --results (by default configs/results).
"""

import argparse
import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import jax
import numpy as np
from sklearn.metrics import mutual_info_score
from study import ROOT, machine, versions

from bitdiff import data
from bitdiff.data import scenes
from bitdiff.inference.trained import Trained, load
from bitdiff.runtime.version import current_commit

PICTURES = 300
_RARE = 0.005  # codes that occur in a smaller fraction of the captions are shown in a single row
_SHOWN = scenes.Scene(scenes.Group(2, "big", "red", "circle"), scenes.Group(1, "small", "blue", "square"), axis=0)


def codes(run: Trained, tokens: np.ndarray) -> list[str]:
    """The code of each caption, as a string of its latents' values.

    Args:
      run: a first stage with latents.
      tokens: int32 [N, L], captions.
    """
    assert run.task.infer is not None
    keys = jax.random.split(jax.random.key(0), len(tokens))
    latents = jax.jit(run.task.infer)(run.params, tokens, keys)
    return ["".join(map(str, row)) for row in np.asarray(latents)]


def main() -> None:
    """Runs the script."""
    parser = argparse.ArgumentParser(description="Shows what the latents of captions mean.")
    parser.add_argument("--workdir", type=Path, required=True, help="a run of shapes_disco:softmax or :bits")
    parser.add_argument("--results", type=Path, default=ROOT / "configs" / "results", help="folder of the results")
    options = parser.parse_args()
    run = load(options.workdir)
    dataset = data.load(run.config.data)
    tokens = np.stack([dataset.test[i]["tokens"] for i in range(PICTURES)])
    forms = np.tile(np.arange(tokens.shape[1]), PICTURES)
    found = codes(run, tokens.reshape(-1, tokens.shape[-1]))
    information = mutual_info_score(forms, found)
    counts = Counter(found)
    common = [code for code, count in counts.most_common() if count >= _RARE * len(found)]
    rows = [_row(code, forms, [code == other for other in found]) for code in common]
    rows.sort(key=lambda row: max(range(scenes.FORMS), key=list(row["scores"].values()).__getitem__))
    if len(common) < len(counts):
        rows.append(_row("all other codes", forms, [code not in common for code in found]))
    examples = "; ".join(f"{i + 1}: {text}" for i, text in enumerate(scenes.captions(_SHOWN)))
    report = {
        "about": f"Percentage of the captions of each form that are assigned each code; {PICTURES} test pictures with "
        f"six captions each. Mutual information between codes and forms: {information:.3f} nats, out of a maximum of "
        f"ln 6 = 1.792. The forms of one scene: {examples}.",
        "command": "python launch/codes.py --workdir runs/captions/full_0",
        "commit": current_commit(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "hardware": machine(),
        "versions": versions(),
        "seeds": [run.config.seed],
        "rows": rows,
    }
    path = options.results / "captions_codes.json"
    path.write_text(json.dumps(report, indent=1) + "\n")
    print(f"wrote {path}")


def _row(code: str, forms: np.ndarray, selected: list[bool]) -> dict:
    with_code = np.bincount(forms[np.asarray(selected)], minlength=scenes.FORMS)
    percent = 100.0 * with_code / np.bincount(forms, minlength=scenes.FORMS)
    return {"name": code, "scores": {f"form {i + 1}": [round(value, 2)] for i, value in enumerate(percent)}}


if __name__ == "__main__":
    main()
