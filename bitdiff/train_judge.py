"""Trains a classifier that judges images: python -m bitdiff.train_judge --config fashion:small --out judge.npz."""

from absl import flags

from bitdiff import data
from bitdiff.cli import command
from bitdiff.evaluation.classifier_judge import train_judge
from bitdiff.metrics import image_classifier
from bitdiff.runtime import processes


def define_flags() -> None:
    """Defines the command's flags."""
    command.define_config("Configuration whose labeled images are used")
    flags.DEFINE_string("out", None, "The .npz file to write.", required=True)
    flags.DEFINE_integer("epochs", 4, "Passes over the training images.", lower_bound=1, upper_bound=1000)
    flags.DEFINE_integer("judge_seed", 0, "Seed of the weights and of the order of the images.")


def main() -> None:
    """Runs the command."""
    values = flags.FLAGS
    out = command.out_file(values.out, ".npz")
    judge = train_judge(data.load(values.config.data), epochs=values.epochs, seed=values.judge_seed)
    if not processes.is_main():
        return
    image_classifier.save(out, judge)
    print(f"wrote {out}: {judge.name}, accuracy {judge.about['test_accuracy']:.2%} on test images")


if __name__ == "__main__":
    define_flags()
    command.run(main)
