"""Draws samples from a trained model: python -m bitdiff.sample --workdir DIR --num_samples 64 --out samples.npz.

A model that describes pictures takes them from `--images FOLDER` and writes captions.json, in the form of COCO's
results, and a sheet of the pictures with their captions.

A model with latents (DisCo-Diff's first stage) infers them from `--images FOLDER` and writes variations of
these; without, its latents are hidden. A prior of bits keeps some latents of earlier samples, by
`--keep samples.npz --keep_latents 0,1`, and draws the others.

With `--out FOLDER/` the samples are written in shards as they come, and a stopped command goes on with the
shards that are missing: for the 50,000 images of a FID.
"""

import json
import os
import re
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags
from PIL import Image

from bitdiff import commands, files, inference, parallel, pictures, workdir
from bitdiff.data import Source
from bitdiff.data.dataset import Arrays
from bitdiff.data.folder import open_pictures
from bitdiff.errors import UsageError
from bitdiff.metrics import captions
from bitdiff.tasks import SampleOptions

_FILES = (".npy", ".png", ".jpg", ".txt", ".json", ".csv", ".zip")  # names that were not meant for a folder
_STRIP_ROWS = 16
_SHEET = 24  # captioned pictures to look at


def write_npz(path: Path, outputs: dict[str, np.ndarray]) -> None:
    """Writes samples as a whole or not at all: 'image' or 'tokens', 'text', 'label' if there is one, 'invalid'."""
    arrays = {name: outputs[name] for name in outputs if name not in ("histogram", "trajectory", "path")}
    files.write(path, lambda file: np.savez_compressed(file, **arrays))


def with_texts(run: inference.Trained, outputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Samples with 'text' among them, where their tokens stand for text."""
    if run.tokenizer is None:
        return outputs
    return outputs | {"text": np.array(run.tokenizer.texts(outputs["tokens"]))}


def write_png(folder: Path, first: int, images: np.ndarray, vocab_size: int) -> None:
    """Writes images as folder/000000.png and so on, counting from `first`; each as a whole or not at all."""
    for i, pixels in enumerate(pictures.to_8_bits(images, vocab_size), start=first):
        partial = folder / f"{i:06d}.partial"
        Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(partial, format="png")
        os.replace(partial, folder / f"{i:06d}.png")


def write_shards(
    run: inference.Trained,
    options: SampleOptions,
    folder: Path,
    *,
    num_samples: int,
    seed: int,
    labels: tuple[int, ...] | None,
    shard_size: int,
    png: bool,
) -> int:
    """Draws the samples whose shards are not in the folder yet; returns how many this process drew.

    Args:
      run: the model.
      options: how to sample.
      folder: made if it is not there; `samples.json` in it says what the samples are.
      num_samples: how many in all.
      seed: of the noise.
      labels: dealt to the samples in turn.
      shard_size: samples in a shard `00000.npz`, or between two looks at what is there as PNG files.
      png: whether every image is a PNG file instead.

    Raises:
      UsageError: the folder holds other samples, or PNG files are wanted of something else than images.
    """
    if shard_size < 1:
        raise UsageError(f"--shard_size is {shard_size}; it must be 1 or more")
    if png and run.task.field != "image":
        raise UsageError("--format png is for images; this model generates tokens")
    about: dict[str, Any] = {
        "run": workdir.plain(run.config) | {"sample": None, "evaluate": None},
        "step": run.step,
        "sampling": options._asdict(),
        "seed": seed,
        "labels": labels or list(range(run.config.data.num_classes)),  # dealt in turn: sample i has the i-th
        "shard_size": shard_size,
        "format": "png" if png else "npz",
    }
    about = json.loads(json.dumps(about))
    if parallel.is_main():
        _claim(folder, about)
    parallel.wait_for_all("the folder is claimed")

    def is_done(start, end):
        if png:
            return all((folder / f"{i:06d}.png").exists() for i in range(start, end))
        path = folder / f"{start // shard_size:05d}.npz"
        if not path.exists():
            return False
        try:
            with np.load(path, allow_pickle=False) as shard:  # a last shard grows when more samples are asked for
                return len(shard["invalid"]) >= end - start
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
            return False  # damaged: drawn again

    drawn = 0
    index, count = parallel.processes()
    for start in range(index * shard_size, num_samples, count * shard_size):  # the processes take turns
        end = min(start + shard_size, num_samples)
        if is_done(start, end):
            continue
        outputs = inference.draw_range(run, options, start, end, seed=seed, labels=labels)
        if png:
            write_png(folder, start, outputs["image"], run.config.data.vocab_size)
        else:
            write_npz(folder / f"{start // shard_size:05d}.npz", with_texts(run, outputs))
        drawn += end - start
    parallel.wait_for_all("all shards are there")
    return drawn


def _claim(folder: Path, about: dict[str, Any]) -> None:
    """Makes the folder of the samples that `about` says, or checks that it is theirs."""
    folder.mkdir(parents=True, exist_ok=True)
    record = folder / "samples.json"
    if record.exists():
        try:
            before = json.loads(record.read_text())
            changed = sorted(name for name in about if before.get(name) != about[name])
        except (ValueError, AttributeError) as error:
            raise UsageError(f"{record} is damaged ({error}); give another --out, or delete the folder") from error
        if changed:
            raise UsageError(f"{folder} holds other samples ({', '.join(changed)} differ); give another --out")
    elif any(folder.iterdir()):
        raise UsageError(f"{folder} holds other files; give another --out")
    files.write_text(record, json.dumps(about, indent=2) + "\n")


def _held(folder: Path, png: bool) -> int:
    """How many samples a folder holds."""
    if png:
        return len(list(folder.glob("*.png")))
    count = 0
    for path in folder.glob("*.npz"):
        with np.load(path, allow_pickle=False) as shard:
            count += len(shard["invalid"])
    return count


def define_flags() -> None:
    """Defines the command's flags."""
    inference.define_flags()
    flags.DEFINE_string(
        "out", "samples.npz", "The .npz file to write, with a picture or text beside it; or a folder, for shards."
    )
    flags.DEFINE_string(
        "images", None, "A folder of images to describe, or to infer latents from; --out is then a .json or .npz file."
    )
    flags.DEFINE_string("keep", None, "An .npz file of samples whose latents are kept in part, by a prior of bits.")
    flags.DEFINE_list("keep_latents", None, "Which of them, counted from 0.")
    flags.DEFINE_list("labels", None, "Classes by number, dealt to the samples in turn; by default all of them.")
    flags.DEFINE_enum("format", "npz", ["npz", "png"], "In a folder: shards of arrays, or a PNG file per image.")
    flags.DEFINE_integer("shard_size", 5000, "Samples in a shard.")
    flags.DEFINE_integer("frames", None, "Also draw a strip of so many estimates on the way, for each of 16 samples.")


def _numbers(flag: str) -> tuple[int, ...] | None:
    names = flags.FLAGS[flag].value
    try:
        return None if names is None else tuple(int(name) for name in names)
    except ValueError as error:
        raise UsageError(f"--{flag} is {','.join(names)}; it must be numbers, as in 0,1,2") from error


def _image_id(path: Path) -> int | str:
    """COCO's number of a picture, from names like 000000391895.jpg and COCO_val2014_000000391895.jpg; else the name."""
    number = re.fullmatch(r"(?:COCO_\w+_)?([0-9]+)", path.stem)
    return int(number[1]) if number else path.stem


def describe(run: inference.Trained, options: SampleOptions, section: Any, root: Path, out: Path) -> None:
    """Writes captions of the pictures in a folder to a .json or .npz file, and a sheet of some beside it.

    Raises:
      UsageError: no pictures, one that cannot be read, or more captions wanted than there are pictures.
    """
    resize = "bicubic" if run.config.data.resize == "none" else run.config.data.resize
    images = open_pictures(root, run.config.data.image_size, run.config.data.channels, resize)
    count = section.num_samples if flags.FLAGS.num_samples is not None else len(images)
    if count > len(images):
        raise UsageError(f"--num_samples is {count}, but {root} holds {len(images)} images")
    names = [_image_id(path) for path in images.files[:count]]
    if out.parent.resolve() == root.resolve():
        raise UsageError(f"--out is {out}, in the folder of the images: its picture would be described next time")
    doubled = [name for name, times in Counter(names).items() if times > 1]
    if doubled:
        raise UsageError(f"several images in {root} go by the same name, {doubled[:3]}: give each its own")
    parallel.agree("the images", list(map(str, names)))
    for i in range(count):  # one that is damaged is named before any is described
        images[i]
    outputs = inference.draw(run, options, num_samples=count, seed=section.seed, images=images)
    if not parallel.is_main():
        return
    texts = run.tokenizer.texts(outputs["tokens"])
    if out.suffix == ".npz":
        write_npz(out, with_texts(run, outputs))
    else:
        files.write_text(out, captions.results(names, texts))
    shown = np.stack([images[i]["image"] for i in range(min(count, _SHEET))])
    sheet = pictures.write_texts(out.with_suffix(".png"), texts[:_SHEET], shown)
    print(f"{count} captions of step {run.step} in {out}, to look at in {sheet}")


def _examples(run: inference.Trained) -> tuple[Source | None, tuple[int, ...] | None]:
    """What --images and --keep tell a model with latents, and the labels that go with it."""
    values = flags.FLAGS
    if values.images is not None:
        if values.keep is not None or values.keep_latents is not None:
            raise UsageError("--images and --keep do not go together: one infers latents, the other keeps some")
        config = run.config.data
        resize = "bicubic" if config.resize == "none" else config.resize
        images = open_pictures(Path(values.images), config.image_size, config.channels, resize)
        pixels = np.stack([images[i]["image"] for i in range(len(images))]) / 255.0 * (config.vocab_size - 1)
        return Arrays({"image": np.round(pixels).astype(np.uint8)}), None
    if values.keep is None and values.keep_latents is None:
        if run.task.infer and run.config.latents.dropout == 0:
            raise UsageError(
                "the model was trained with config.latents.dropout=0, so it knows no hidden latents: give --images, "
                "or draw from a second stage"
            )
        if run.task.infer and values.latent_guidance:
            raise UsageError(
                "--latent_guidance has nothing to guide by where latents are hidden: give --images, or draw from a "
                "second stage"
            )
        return None, None
    if values.keep is None or values.keep_latents is None or run.config.task != "prior":
        raise UsageError("--keep and --keep_latents go together, with a second stage of DisCo-Diff")
    return kept_latents(values.keep, _numbers("keep_latents"))


def kept_latents(path: str, positions: tuple[int, ...]) -> tuple[Arrays, tuple[int, ...] | None]:
    """Some of the latents of samples, 'known' int [N, count] with -1 for the others, and the samples' labels.

    Raises:
      UsageError: the file holds no samples with latents, or a position is not among them.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in ("latents", "label") if name in file.files}
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise UsageError(f"--keep: {path} is no .npz file of samples: {error}") from error
    latents = arrays.get("latents", np.zeros(0))
    whole = latents.ndim == 2 and len(latents) and np.issubdtype(latents.dtype, np.integer)
    if not whole or latents.min() < 0:
        raise UsageError(f"--keep: {path} holds no latents [N, count]; draw samples from a second stage first")
    if "label" in arrays and arrays["label"].shape != latents.shape[:1]:
        raise UsageError(f"--keep: {path} holds {len(latents)} samples, but labels {arrays['label'].shape}")
    if not positions or not all(0 <= position < latents.shape[1] for position in positions):
        raise UsageError(f"--keep_latents {list(positions)}: a sample has {latents.shape[1]} latents, counted from 0")
    kept = np.isin(np.arange(latents.shape[1]), positions)
    labels = tuple(arrays["label"].tolist()) if "label" in arrays else None
    return Arrays({"known": np.where(kept, latents, -1)}), labels


def _captions_path(out: Path) -> Path:
    """Where captions go: --out, or captions.json."""
    if not flags.FLAGS["out"].present:
        out = Path("captions.json")
    if out.suffix not in (".json", ".npz") or flags.FLAGS.frames or flags.FLAGS.labels:
        raise UsageError("captions go to a .json or .npz file as --out, and without --labels and --frames")
    return out


def main() -> None:
    """The command."""
    out, labels, frames = Path(flags.FLAGS.out), _numbers("labels"), flags.FLAGS.frames
    single = out.suffix == ".npz"
    root = None if flags.FLAGS.images is None else Path(flags.FLAGS.images)
    if root is not None and workdir.load_config(Path(flags.FLAGS.workdir)).encoder:
        out, single = _captions_path(out), True
    if not out.parent.is_dir() or (not single and (out.suffix in _FILES or out.is_file())):
        raise UsageError(f"--out is {out}; it must be an .npz file or a folder, in a folder that exists")
    if not single and frames:
        raise UsageError("--frames goes with an .npz file as --out")
    for name in ("format", "shard_size"):
        if single and flags.FLAGS[name].present:
            raise UsageError(f"--{name} goes with a folder as --out")
    run = inference.open_run(Path(flags.FLAGS.workdir), flags.FLAGS.checkpoint, flags.FLAGS.prior_steps)
    section = run.config.sample
    options = inference.apply_flags(run.config, section)
    inference.check_options(run, [options, options._replace(frames=frames or 0)])
    if root is None and run.config.encoder:
        raise UsageError("this model describes pictures: give a folder of them as --images")
    if root is not None and not (run.config.encoder or (run.task.told_by_examples and run.task.field == "image")):
        raise UsageError("--images is for models that describe pictures or infer latents from them; this one does not")
    if single and parallel.is_main():
        files.check_writable(out)
    if run.config.encoder:
        return describe(run, options, section, root, out)
    examples, their_labels = _examples(run)
    labels = labels or their_labels
    drawing = {"num_samples": section.num_samples, "seed": section.seed, "labels": labels}
    if not single:
        if examples is not None:
            raise UsageError("--images and --keep go with an .npz file as --out")
        png = flags.FLAGS.format == "png"
        drawn = write_shards(run, options, out, shard_size=flags.FLAGS.shard_size, png=png, **drawing)
        more = _held(out, png) > section.num_samples
        by = "" if parallel.processes()[1] == 1 else " by the first process"
        print(f"{section.num_samples} samples of step {run.step} in {out}, {drawn} of them drawn now{by}")
        if more:
            print(f"{out} holds more of them, from an earlier call that asked for more")
        return
    drawing["images"] = examples
    outputs = inference.draw(run, options, **drawing)
    strip = None
    if frames:
        rows = min(section.num_samples, _STRIP_ROWS)
        section.batch_size = rows
        drawing["num_samples"] = rows
        strip = inference.draw(run, options._replace(frames=frames), **drawing)["trajectory"]
    if not parallel.is_main():
        return
    if run.tokenizer:
        texts = run.tokenizer.texts(outputs["tokens"])
        write_npz(out, with_texts(run, outputs))
        preview = pictures.write_texts(out, texts)
    else:
        write_npz(out, outputs)
        columns = len(labels) if labels else run.config.data.num_classes
        preview = pictures.write_preview(out, outputs, run.config.data.vocab_size, columns)
    print(f"{section.num_samples} samples of step {run.step} in {out}, to look at in {preview}")
    if strip is not None:
        shown = {"image" if "image" in outputs else "tokens": strip.reshape(-1, *strip.shape[2:])}
        place = out.with_name(out.stem + "_strip")
        place = pictures.write_preview(place, shown, run.config.data.vocab_size, frames)
        print(f"{len(strip)} of them on their way in {place}")


if __name__ == "__main__":
    define_flags()
    commands.run(main)
