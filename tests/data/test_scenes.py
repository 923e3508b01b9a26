import numpy as np
import pytest

from bitdiff import data
from bitdiff.configs import shapes as config
from bitdiff.data import drawing, drawn_shapes, scenes
from bitdiff.data.scenes import Group, Scene
from bitdiff.runtime.errors import UsageError
from bitdiff.tasks import caption_scores

SCENE = Scene(Group(2, "big", "red", "square"), Group(1, "small", "blue", "circle"), 0)
SAME = Scene(Group(1, "big", "red", "cross"), Group(1, "big", "red", "cross"), 1)


def holds(text, scene=SCENE):
    statement = scenes.parse(text)
    return None if statement is None else scenes.is_true(statement, scene)


def test_every_caption_parses_back_to_its_scene():
    kinds = scenes.kinds()
    assert len(kinds) == len(set(kinds)) == 144
    for i, kind in enumerate(kinds):
        for axis in (0, 1):
            scene = Scene(kind, kinds[(7 * i + 3) % 144], axis)
            texts = scenes.captions(scene)
            assert len(set(texts)) == 6
            for text in texts:
                assert tuple(scenes.parse(text)) == tuple(scene), text
                assert scenes.is_complete(scenes.parse(text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("two big red squares above a small blue circle", True),
        ("there is a small blue circle below two big red squares", True),
        ("two red squares are above a circle", True),
        ("a small blue circle", True),
        ("there are two squares", True),
        ("two big red squares below a small blue circle", False),
        ("two big red squares left of a small blue circle", False),
        ("three big red squares above a small blue circle", False),
        ("two big blue squares above a small red circle", False),
        ("a small red circle", False),
        ("two big red square above a small blue circle", None),
        ("a big red squares", None),
        ("two big red squares is above a small blue circle", None),
        ("there is two big red squares", None),
        ("there is a small blue circle is below two big red squares", None),
        ("two red big squares above a small blue circle", None),
        ("two big red squares above", None),
        ("a small blue circle is", None),
        ("above a small blue circle two big red squares", None),
        ("", None),
    ],
)
def test_the_parser_judges_captions(text, expected):
    assert holds(text) is expected


def test_identical_groups_may_be_described_in_either_order():
    assert holds("a big red cross left of a big red cross", SAME)
    assert holds("a big red cross right of a big red cross", SAME)
    assert not scenes.is_complete(scenes.parse("a red cross left of a big red cross"))


def test_truth_scores_count_what_the_parser_finds():
    texts = ["two big red squares above a small blue circle", "two squares", "two big red squares", "a a a"]
    scores = caption_scores.truth(texts, [SCENE, SCENE, SAME, SCENE])
    values = {name: scores[name].value for name in ("grammatical", "true", "complete")}
    assert values == {"grammatical": 0.75, "true": 0.5, "complete": 0.25}


def test_captions_of_one_form_have_the_largest_distance_to_all_forms():
    first, every = [scenes.captions(SCENE)[:1] * 6, scenes.captions(SCENE)]
    shown = [SCENE] * 6
    assert caption_scores.truth(first, shown)["form_tv"].value == pytest.approx(5 / 6)
    assert caption_scores.truth(every, shown)["form_tv"].value == pytest.approx(0)
    assert "form_tv" not in caption_scores.truth(["two squares"], [SCENE])


@pytest.mark.parametrize("axis", [0, 1])
def test_a_picture_shows_its_scene(axis):
    """The centers of the red and of the white pixels are farther apart along the axis than across it."""
    random = np.random.default_rng(0)
    for _ in range(50):
        first, second = (Group(int(random.integers(1, 4)), "big", color, "circle") for color in ("red", "white"))
        image = drawing.draw(Scene(first, second, axis), 32, random).astype(int)
        red = np.argwhere((image[..., 0] > 150) & (image[..., 1] < 110))
        white = np.argwhere(image.min(axis=-1) > 150)
        apart = white.mean(0) - red.mean(0)
        assert apart[axis] > abs(apart[1 - axis])
        area = np.pi * (0.15 * 32) ** 2
        for pixels, group in ((red, first), (white, second)):
            assert 0.7 * area < len(pixels) / group.count < 1.2 * area


def test_shapes_and_sizes_look_different():
    random = np.random.default_rng(1)

    def cover(shape, size):
        image = drawing.draw(Scene(Group(1, size, "white", shape), Group(1, size, "white", shape), 0), 32, random)
        return (image.min(axis=-1) > 128).mean()

    covers = {size: {shape: cover(shape, size) for shape in scenes.SHAPES} for size in scenes.SIZES}
    assert min(covers["big"].values()) > max(covers["small"].values())


def test_test_pictures_show_kinds_unseen_in_training():
    seen, unseen = drawn_shapes.split_kinds()
    assert len(unseen) == 14
    assert not set(seen) & set(unseen)
    options = config.get_config().data
    dataset = data.load(options)
    for i in range(0, 30_000, 97):
        assert not {*dataset.train.scene(i)[:2]} & set(unseen)
    for i in range(0, 2_000, 17):
        assert {*dataset.test.scene(i)[:2]} & set(unseen)


def test_an_example_is_deterministic_and_has_the_captions_of_its_scene():
    dataset = data.load(config.get_config().data)
    for i in (0, 29_999):
        example, again = dataset.train[i], dataset.train[i]
        np.testing.assert_array_equal(example["image"], again["image"])
        np.testing.assert_array_equal(example["tokens"], again["tokens"])
        assert example["image"].shape == (32, 32, 3)
        texts = [dataset.tokenizer.decode(row) for row in example["tokens"]]
        assert texts == dataset.train.captions(i)
    with pytest.raises(IndexError):
        dataset.train[30_000]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"image_size": 8}, "it must be from 16 to 256 for shapes"),
        ({"length": 12}, "the longest caption has 13 tokens"),
        ({"captions": 7}, "it must be from 1 to 6 for shapes"),
        ({"tokenizer": "x.model"}, "have their own vocabulary"),
    ],
)
def test_bad_options_are_reported(fields, message):
    options = config.get_config().data
    options.update(fields)
    with pytest.raises(UsageError, match=message):
        data.load(options)
