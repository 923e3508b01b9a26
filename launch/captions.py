#!/usr/bin/env python3
"""Reproduces the results on captions of drawn shapes: trains every model with every seed, and measures it.

    python launch/captions.py --out runs/captions               # hours on two cores; the same command resumes
    python launch/captions.py --out runs/captions --only ar,latents --seeds 0

Every training uses one core, which --core selects. The scores are written to configs/results.
"""

from pathlib import Path

from study import Model, Study, Table, main, run

_SCORES = {
    "grammatical, %": ("grammatical", 100),
    "true, %": ("true", 100),
    "form distance": ("form_tv", 1),
    "BLEU-4, %": ("BLEU-4", 100),
    "CIDEr": ("CIDEr", 1),
}
_ONE = ("--config.data.captions=1", "--config.data.captions_drawn=1", "--config.data.curriculum_steps=0")
_NO_LAG = ("--config.diffusion.lag=0", "--config.sample.lag=0")
_BEAMS = 3
_TEACHER_BEAMS = 8  # more than the captions that are equally good


def _steps(*steps: int, td: float = 2.0, blocks: int = 1) -> dict[str, list[str]]:
    """Cells by their number of network evaluations, which for blocks is that of all blocks."""
    return {f"{n * blocks}": ["--steps", f"{n}", "--td", f"{td}", "--lag", "0"] for n in steps}


def _distilled(title: str, config: str) -> Model:
    arguments = ("--config.data.distilled={distilled}", *_ONE[1:], *_NO_LAG, "--config.train.steps=2400")
    return Model(title, config, arguments, ("distilled",), _steps(1, 2, 5, 10))


def _prior(title: str, variant: str, first: str) -> Model:
    return Model(title, f"shapes_disco:{variant}", (f"--config.first_run={{{first}}}",), (first,), _steps(1, 2, 5, 10))


def _ablation(change: str, *arguments: str) -> Model:
    return Model(f"oracle latents, {change}", "shapes_disco:softmax", arguments, (), _steps(1, 2, 5, 10))


def _blocks(size: int) -> Model:
    arguments = (f"--config.blocks.size={size}",)
    cells = {steps: [*cell[:4]] for steps, cell in _steps(5, 10, 20, td=0.0, blocks=-(-_LENGTH // size)).items()}
    return Model(f"softmax bits, blocks of {size}", "shapes:blocks", arguments, (), cells)


_LENGTH = 13  # tokens of a caption, which are an autoregressive model's evaluations
_AR_CELLS = {f"{_LENGTH} (greedy)": ["--beams", "1"], f"{_LENGTH} ({_BEAMS} beams)": ["--beams", f"{_BEAMS}"]}
_COMPARISON = {
    "ar": Model("autoregressive, six captions", "shapes:autoregressive", (), (), _AR_CELLS),
    "ar_one": Model("autoregressive, one caption", "shapes:autoregressive", _ONE, (), _AR_CELLS),
    "softmax_plain": Model(
        "softmax bits, no latents", "shapes:softmax", (*_NO_LAG, "--config.train.steps=2400"), (), _steps(1, 2, 5, 10)
    ),
    "bits_plain": Model(
        "linear bits, no latents", "shapes:bits", (*_NO_LAG, "--config.train.steps=2400"), (), _steps(1, 2, 5, 10)
    ),
    "softmax_distilled": _distilled("softmax bits, distilled", "shapes:softmax"),
    "bits_distilled": _distilled("linear bits, distilled", "shapes:bits"),
    "softmax_latents": Model("softmax bits, oracle latents", "shapes_disco:softmax", (), (), _steps(1, 2, 5, 10)),
    "softmax_prior": _prior("softmax bits, generated latents", "prior", "softmax_latents"),
    "bits_latents": Model("linear bits, oracle latents", "shapes_disco:bits", (), (), _steps(1, 2, 5, 10)),
    "bits_prior": _prior("linear bits, generated latents", "bits_prior", "bits_latents"),
}
_ABLATION = {
    "no_curriculum": _ablation("no curriculum", "--config.data.curriculum_steps=0"),
    "no_kl": _ablation("no divergence", "--config.latents.kl=0"),
    "attention": _ablation("attention instead of modulation", "--config.latents.route=attention"),
    "mlp": _ablation("an MLP on the bits instead of the bag", "--config.latents.encoder.kind=mlp"),
    "one_latent": _ablation(
        "one latent of 8 values instead of five of 2", "--config.latents.count=1", "--config.latents.codes=8"
    ),
}
_BLOCKS = {f"blocks_{size}": _blocks(size) for size in (1, 2, 4, 7, 13)}
_ABOUT = (
    "Captions of drawn shapes; 300 test pictures, each with a kind of group never seen in training. Minutes of one "
    "core's time for training, including the models that are needed first, but not the teacher's sampling. Tokens per "
    "second: one core, batches of 64, three rounds with seed 0. Form distance: total variation between the frequencies "
    "of the six forms of caption and equal ones."
)


def _distill(out: Path, seed: int) -> Path:
    """The beams of the autoregressive model, as captions to learn from."""
    folder = out / f"distilled_{seed}"
    run("distill", "--workdir", out / f"ar_{seed}", "--beams", _TEACHER_BEAMS, "--batch_size", 1000, "--out", folder)
    return folder


STUDY = Study(
    command="python launch/captions.py",
    about="Reproduces the results on captions of drawn shapes.",
    tables={
        "captions": Table(_COMPARISON, _ABOUT, _SCORES),
        "captions_ablation": Table(_ABLATION, _ABOUT, _SCORES),
        "captions_blocks": Table(_BLOCKS, _ABOUT, _SCORES),
    },
    made={"distilled": _distill},
    owner={"distilled": "ar"},
)

if __name__ == "__main__":
    main(STUDY, num_samples=300)
