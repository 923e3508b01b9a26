"""Draws samples from a trained model: python -m bitdiff.sample --workdir DIR --num_samples 64 --out samples.npz.

With `--out FOLDER/`, the samples are written in shards as they are drawn, e.g. the 50,000 samples that FID requires;
after an interruption, the same command resumes.

`--images FOLDER` conditions on pictures: a model that describes pictures writes captions.json, in COCO's results
format, and a page of pictures with captions; a model with latents (DisCo-Diff's first stage) infers them from the
pictures and writes variations of the pictures.

`--known FILE.npz` completes images, token sequences, or the latents of a second stage with a Bit Diffusion prior:
values of -1 in the file are open (to be sampled), and so are those where its array `mask` is True.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from absl import flags

from bitdiff.cli import command, sampling_flags
from bitdiff.cli.data_flags import define_path_flag
from bitdiff.cli.sampling_flags import DrawRequest, RunRequest
from bitdiff.data import Source
from bitdiff.evaluation.scores import open_data
from bitdiff.figures import pages
from bitdiff.inference.draws import Draw, draw
from bitdiff.inference.known_files import read_known
from bitdiff.inference.picture_folders import as_examples, describe
from bitdiff.inference.pose_files import has_amino_acids, has_elements, write_pdb, write_sdf
from bitdiff.inference.sample_files import write_npz, write_page
from bitdiff.inference.shards import Layout, count_samples, write_shards
from bitdiff.inference.trained import Trained, check_examples, check_options, with_texts
from bitdiff.runtime import files, processes
from bitdiff.runtime.errors import UsageError
from bitdiff.tasks import examples_for
from bitdiff.tasks.docking_model import KNOWN, SHOWN
from bitdiff.tasks.options import checked

_NOT_FOLDERS = (".npy", ".png", ".jpg", ".txt", ".json", ".csv", ".zip")  # suffixes that do not name a folder
_STRIP_ROWS, _POSE_ROWS = 16, 4


class Request(NamedTuple):
    """Which samples to draw, what they are conditioned on, and where they go; None means the default.

    labels: classes assigned to the samples in turn.
    images: a folder of pictures to describe or to infer latents from.
    known: a file of known values; known_positions: the positions that are known.
    out: an .npz file, a .json file for captions, or a folder for shards.
    layout: how a folder holds samples; layout_given: those of its flags that were given.
    frames: number of intermediate estimates per row of a strip beside the samples; 0 for no strip.
    data_path: the path of a docking model's data; None for the config's.
    """

    run: RunRequest
    draw: DrawRequest
    labels: tuple[int, ...] | None
    images: Path | None
    known: Path | None
    known_positions: tuple[int, ...] | None
    out: Path | None
    layout: Layout
    layout_given: list[str]
    frames: int
    data_path: str | None


def define_flags() -> None:
    """Defines the command's flags."""
    sampling_flags.define_run_flags()
    sampling_flags.define_draw_flags()
    define_path_flag()
    flags.DEFINE_string("out", None, "The .npz file to write, or a folder for shards; by default samples.npz.")
    flags.DEFINE_list("labels", None, "Class numbers, assigned to the samples in turn; by default all classes.")
    flags.DEFINE_string("images", None, "Folder of pictures to describe, or to infer latents from.")
    flags.DEFINE_string("known", None, "An .npz file of values to complete, with -1 where they are open.")
    flags.DEFINE_list("known_positions", None, "Positions, from 0, that --known holds fixed; by default all.")
    flags.DEFINE_enum("format", "npz", ["npz", "png"], "Files in a folder: shards of arrays, or a PNG per image.")
    flags.DEFINE_integer("shard_size", 5000, "Samples per shard.")
    flags.DEFINE_integer(
        "frames", 0, "Frames per row in a strip of 16 trajectories (docking: 4); 0 for no strip.", lower_bound=0
    )


def read_request() -> Request:
    """Reads the command's flags into a request."""
    values = flags.FLAGS
    return Request(
        run=sampling_flags.read_run(),
        draw=sampling_flags.read_draw(),
        labels=command.integers("labels", values.labels),
        images=None if values.images is None else Path(values.images),
        known=None if values.known is None else Path(values.known),
        known_positions=command.integers("known_positions", values.known_positions),
        out=None if values.out is None else Path(values.out),
        layout=Layout(values.shard_size, values.format == "png"),
        layout_given=[f"--{name}" for name in ("format", "shard_size") if flags.FLAGS[name].present],
        frames=values.frames,
        data_path=values.data_path,
    )


def main() -> None:
    """Runs the command."""
    sample(read_request())


def sample(request: Request) -> None:
    """Draws the samples of a request: captions, shards, or one file."""
    if request.out is not None:
        check_out(request.out)
    run = request.run.open()
    if request.labels is not None:
        check_labels(run, request.labels)
    if request.data_path is not None and run.task.field != "pose":
        raise UsageError(f"--data_path is {request.data_path}, but only docking models need data to sample")
    samples = request.draw.resolve(run, run.config.sample)
    in_shards = request.out is not None and request.out.suffix not in (".npz", ".json")
    kept = min(samples.num_samples, request.layout.shard_size) if in_shards else samples.num_samples
    many = [samples.options, checked(samples.options._replace(frames=request.frames))]
    check_options(run, many, samples.batch_size, max(kept, 1))
    if run.config.get("encoder"):
        describe_pictures(request, run, samples)
    elif request.out is not None and request.out.suffix != ".npz":
        fill_folder(request, run, samples)
    else:
        write_file(request, run, samples)


def describe_pictures(request: Request, run: Trained, samples: Draw) -> None:
    """Writes captions of the pictures in --images."""
    out = request.out or Path("captions.json")
    if request.images is None:
        raise UsageError("this model describes pictures: pass a folder of them as --images")
    refused = request.labels is not None or request.known is not None or request.frames or request.layout_given
    if out.suffix not in (".json", ".npz") or refused:
        raise UsageError(
            "captions are written to a .json or .npz file (--out), and do not support --labels, --known, --frames, "
            "--format or --shard_size"
        )
    if processes.is_main():
        files.check_writable(out)
    count, page = describe(run, samples, request.images, request.draw.num_samples, out)
    print(f"wrote {count} captions from step {run.step} to {out}, and a preview to {page}")


def fill_folder(request: Request, run: Trained, samples: Draw) -> None:
    """Writes samples to a folder in shards."""
    assert request.out is not None
    if request.frames or request.images is not None or request.known is not None or request.out.suffix == ".json":
        raise UsageError(
            f"--out is {request.out}; --frames, --images and --known require an .npz file, and .json is for captions"
        )
    examples = read_examples(request, run)
    check_examples(run, samples.options, examples)
    drawn = write_shards(run, samples, request.labels, request.out, request.layout, examples)
    by = " by the first process" if processes.processes()[1] > 1 else ""
    print(f"{request.out} holds {samples.num_samples} samples from step {run.step}, {drawn} of them drawn now{by}")
    if count_samples(request.out, request.layout.png) > samples.num_samples:
        print(f"{request.out} also holds samples from an earlier call that requested more")


def write_file(request: Request, run: Trained, samples: Draw) -> None:
    """Writes samples to an .npz file, a page beside it, and a strip if it was requested."""
    out = request.out or Path("samples.npz")
    if request.layout_given:
        raise UsageError(f"--out is {out}; {' and '.join(request.layout_given)} require a folder")
    if processes.is_main():
        files.check_writable(out)
    examples = read_examples(request, run)
    check_examples(run, samples.options, examples)
    if request.known is not None and examples is not None:
        check_known(run, examples)
    if request.known is not None and examples is not None and request.draw.num_samples is None:
        samples = samples._replace(num_samples=len(examples))
    outputs = draw(run.task, run.params, samples, labels=request.labels, examples=examples)
    strip = draw_strip(request, run, samples, examples) if request.frames else None
    if not processes.is_main():
        return
    outputs = with_texts(run, outputs)
    write_npz(out, outputs)
    page = write_page(out, run, outputs, len(request.labels or ()) or run.config.data.num_classes)
    print(f"wrote {samples.num_samples} samples from step {run.step} to {out}, and a preview to {page}")
    if run.task.field == "pose":
        elements, residues = has_elements(run.config.data), has_amino_acids(run.config.data)
        written = [write_pdb(out, outputs, elements=elements, residues=residues)]
        written += [write_sdf(out, outputs)] if elements else []
        print(f"wrote the poses to {' and '.join(map(str, written))}")
    if strip is not None:
        name = out.with_name(out.stem + "_strip")
        rows = len(next(iter(strip.values()))) // request.frames
        page = pages.write_samples(name, strip, run.config.data.vocab_size, request.frames)
        print(f"wrote {rows} trajectories to {page}")


def read_examples(request: Request, run: Trained) -> Source | None:
    """What samples are conditioned on besides labels: known values, pictures to infer latents from, or complexes."""
    if run.task.field == "pose":
        if request.images is not None or request.known is not None:
            raise UsageError("docking samples poses in the data set's complexes; it takes neither --images nor --known")
        run, dataset = open_data(run, request.data_path)
        return examples_for(run.task, dataset)
    if request.images is not None and request.known is not None:
        raise UsageError("--images and --known cannot be combined: one infers latents, the other completes values")
    if request.known is not None:
        field = "latents" if run.config.task == "prior" else run.task.field
        return read_known(request.known, field, request.known_positions)
    if request.known_positions is not None:
        raise UsageError("--known_positions requires --known")
    if request.images is None:
        return None
    if run.task.infer is None or run.task.field != "image":
        raise UsageError(
            "--images is for models that describe pictures or infer latents from them; this model does neither"
        )
    return as_examples(run, request.images)


def draw_strip(request: Request, run: Trained, samples: Draw, examples: Source | None) -> dict:
    """Intermediate estimates of the first samples, or poses before a step, one trajectory after another."""
    poses = run.task.field == "pose"
    rows = min(samples.num_samples, _POSE_ROWS if poses else _STRIP_ROWS)
    options = samples.options._replace(frames=request.frames)
    shorter = Draw(options, rows, samples.seed, rows)
    outputs = draw(run.task, run.params, shorter, labels=request.labels, examples=examples)
    trajectory = outputs["trajectory"]
    shown = [name for name in (*SHOWN, KNOWN) if name in outputs] if poses else []
    complexes = {name: np.repeat(outputs[name], request.frames, axis=0) for name in shown}
    return complexes | {run.task.field: trajectory.reshape(-1, *trajectory.shape[2:])}


def check_labels(run: Trained, labels: tuple[int, ...]) -> None:
    """Checks --labels before anything is compiled."""
    try:
        run.task.condition(np.arange(1), labels)
    except UsageError as error:
        raise UsageError(f"--labels: {error}") from error


def check_known(run: Trained, examples: Source) -> None:
    """Checks --known before anything is compiled."""
    try:
        run.task.condition(np.arange(len(examples)), None, examples)
    except UsageError as error:
        raise UsageError(f"--known: {error}") from error


def check_out(out: Path) -> None:
    """Checks that --out can be a file or a folder, before the model is opened."""
    is_file = out.suffix in (".npz", ".json")
    if not out.parent.is_dir() or (not is_file and (out.suffix in _NOT_FOLDERS or out.is_file())):
        raise UsageError(f"--out is {out}; it must be an .npz file or a folder, in an existing folder")


if __name__ == "__main__":
    define_flags()
    command.run(main)
