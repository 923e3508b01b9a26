"""What a prior or a student takes from the run that it starts from."""

import json

import pytest

from bitdiff import data
from bitdiff.configs import mixture, mixture_disco, shapes_disco
from bitdiff.runtime.errors import UsageError
from bitdiff.tasks import distillation, make_task, sample_options
from bitdiff.training import schedule_file, workdir
from bitdiff.training.first_stage import with_first_stage


@pytest.fixture
def first():
    config = mixture_disco.get_config("disco")
    return data.resolve(config, data.load(config.data))


def levels_of_prior(first, folder):
    workdir.save_config(folder, first)
    config = mixture_disco.get_config("prior")
    config.first_run = str(folder)
    prior = with_first_stage(config, folder / "prior")
    return prior.sample.schedule_options.levels


def test_a_first_stage_is_sampled_along_its_training_levels(first, tmp_path):
    assert levels_of_prior(first, tmp_path) == ()
    first.diffusion.schedule = "measured"
    first.diffusion.schedule_options.levels = (4.0, 0.0, -4.0)
    assert levels_of_prior(first, tmp_path) == (4.0, 0.0, -4.0)


def test_a_student_is_not_sampled_along_a_schedule_measured_on_its_teacher(tmp_path):
    teacher = mixture.get_config()
    workdir.save_config(tmp_path, data.resolve(teacher, data.load(teacher.data)))
    (tmp_path / schedule_file.NAME).write_text(json.dumps({"levels": [5.0, 1.0, -3.0]}))
    config = mixture.get_config("distilled")
    config.first_run = str(tmp_path)
    student = with_first_stage(config, tmp_path / "student")
    assert student.sample.schedule_options.levels == ()
    make_task(student)


def test_a_student_of_a_teacher_trained_on_a_measured_schedule_can_be_sampled(tmp_path):
    teacher = mixture.get_config()
    teacher.diffusion.schedule = "measured"
    teacher.diffusion.schedule_options.levels = (9.0, 0.0, -9.0)
    workdir.save_config(tmp_path, data.resolve(teacher, data.load(teacher.data)))
    config = mixture.get_config("distilled")
    config.diffusion.schedule = "measured"
    config.diffusion.schedule_options.levels = (9.0, 0.0, -9.0)
    config.first_run = str(tmp_path)
    student = with_first_stage(config, tmp_path / "student")
    # As `load` does.
    student.sample.schedule_options.levels = schedule_file.sampling_levels(student, tmp_path / "student")
    assert student.sample.schedule_options.levels == (9.0, 0.0, -9.0)
    distillation._check_options(sample_options(student.sample), student.distillation.steps)


def test_first_run_is_refused_by_tasks_that_ignore_it(tmp_path):
    config = mixture.get_config()
    config.first_run = str(tmp_path)
    with pytest.raises(
        UsageError, match=r"first_run is .*, but config.task is 'tokens'; only the tasks .* start from another run"
    ):
        with_first_stage(config, tmp_path / "new")


def test_a_first_stage_is_sampled_along_the_schedule_measured_on_it(first, tmp_path):
    (tmp_path / schedule_file.NAME).write_text(json.dumps({"levels": [5.0, 1.0, -3.0]}))
    assert levels_of_prior(first, tmp_path) == (5.0, 1.0, -3.0)


@pytest.mark.parametrize(
    ("module", "first", "second"), [(mixture_disco, "disco", "prior"), (shapes_disco, "bits", "bits_prior")]
)
def test_a_prior_of_latents_with_other_options_than_the_defaults_builds(module, first, second):
    config = module.get_config(second)
    config.first = module.get_config(first)
    assert config.first.latents.kl > 0
    make_task(config)
