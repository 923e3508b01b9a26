"""Tests of the page about a run: what it contains, that it is self-contained, and its slider in a browser."""

import html.parser
import shutil
import subprocess

import pytest

from bitdiff.evaluation import run_report
from bitdiff.evaluation.run_report import Shown, sections
from bitdiff.figures import html_page
from bitdiff.inference import trained
from bitdiff.inference.draws import Draw
from bitdiff.tasks import sample_options

_BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
_VOID = {"meta", "img", "input"}


class Checker(html.parser.HTMLParser):
    """Collects tags and addresses, and checks that every tag is closed."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.addresses = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href")]
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def checked(document):
    checker = Checker()
    checker.feed(document)
    assert checker.open == []
    assert all(address.startswith("data:image/png;base64,") for address in checker.addresses)
    return checker


@pytest.fixture(scope="module")
def document():
    run = trained.load("digits")
    draw = Draw(sample_options(run.config.sample, steps=4), 20, 0, 20)
    return html_page.page("digits <1>", sections(run, Shown(draw, 3)))


def test_the_page_is_self_contained_and_complete(document):
    checker = checked(document)
    assert checker.tags.count("img") == 1 + 3 + 1  # the samples, three frames, the histogram
    for heading in ("Run", "Samples", "Trajectory", "Analog bits", "Config"):
        assert f"<h2>{heading}</h2>" in document
    assert "<title>digits &lt;1&gt;</title>" in document
    assert "http" not in document.replace("<!doctype html>", "")


@pytest.mark.skipif(_BROWSER is None, reason="requires chromium")
def test_the_slider_shows_one_frame(document, tmp_path):
    path = tmp_path / "page.html"
    # Moves the slider to the first frame, as a reader does.
    move = (
        "<script>const s = document.querySelector('input'); s.value = 0; s.dispatchEvent(new Event('input'));</script>"
    )
    path.write_text(document.replace("</body>", f"{move}</body>"))
    line = [_BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", path.as_uri()]
    shown = subprocess.run(line, capture_output=True, text=True, timeout=60, check=True).stdout
    frames = [part.split(">")[0] for part in shown.split('<div class="frame"')[1:]]
    assert ["hidden" in frame for frame in frames] == [False, True, True]


def test_fields_that_differ_from_their_defaults():
    defaults = {"seed": 0, "train.steps": 10}
    for name, value, differs in (
        ("seed", 0, False),
        ("first.seed", 0, False),
        ("first.train.steps", 20, True),
        ("network.dim", 8, True),  # has no default
    ):
        assert run_report._differs(name, value, defaults) == differs, name


def test_texts_are_escaped():
    body = html_page.table([("<b>", 1)], ("a & b",)) + html_page.text(["<script>"]) + html_page.paragraph("1 < 2")
    document = html_page.page("t", {"<h>": body, "s": html_page.scrubber(["x", "y"], ["1", "<2>"])})
    checker = checked(document)
    assert checker.tags.count("script") == 1
    assert "b" not in checker.tags
    assert "&lt;b&gt;" in document


@pytest.mark.slow
def test_the_command_writes_the_page_with_curves(command, finished_run, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(finished_run, folder)
    page = tmp_path / "page.html"
    code, output = command("report", "--workdir", folder, "--num_samples", 4, "--frames", 2, "--out", page)
    assert code == 0, output
    text = page.read_text()
    checked(text)
    assert "<title>digits: run</title>" in text
    assert "<h2>Training</h2>" in text
    assert text.count('class="frame"') == 2
