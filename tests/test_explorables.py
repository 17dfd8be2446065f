"""The figures that one can move: alive in a page without a kernel and in JupyterLab, and right."""

import html
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import traitlets
from explorables_reference import REFERENCES
from pagecheck import PHONE, Site, visit

from snnlib import backprop, explorables
from snnlib.explorables import (
    FIGURES,
    Chain,
    SelfNormalizingMap,
    SeluDesigner,
    SignalThroughDepth,
    TrainHere,
    _bundle,
    _pages,
)

ROOT = Path(__file__).resolve().parents[1]
SCHEMES = ("http", "file")
THEMES = ("light", "dark")
STATES = 1000
TOLERANCE = 1e-6  # absolute or relative
MOST_BYTES = 150 * 1024
CONTROLS = "input, select, button, [role=slider]"

PAGE = """<!DOCTYPE html><html lang="en" data-theme="light"><head><meta charset="utf-8"><title>Figures</title>
<link rel="icon" href="data:,"><link rel="stylesheet" href="course.css"><link rel="stylesheet" href="style.css">
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>body {{ background: var(--pst-color-background, #fff); }}</style>
{scripts}</head><body>{body}</body></html>"""

each_figure = pytest.mark.parametrize("figure", FIGURES, ids=[figure.__name__ for figure in FIGURES])


def place(figure, **changes):
    """The HTML of a figure in its first state; `changes` replace what its attributes data-... say."""
    text = figure()._repr_mimebundle_()["text/html"]
    for name, value in changes.items():
        text = re.sub(f'data-{name}="[^"]*"', lambda _, n=name, v=value: f'data-{n}="{html.escape(v)}"', text)
    return text


def write_page(folder, name, body, modules=FIGURES):
    scripts = _pages.scripts("".join(f'<div class="snn-explorable" data-module="{f.module}"' for f in modules))
    tags = "".join(f'<script defer src="{script}"></script>' for script in scripts)
    (folder / name).write_text(PAGE.format(scripts=tags, body=body), encoding="utf-8")


BROKEN = {  # what is wrong with a state: (the attributes that say so, what the figure says of it)
    "no JSON": ({"state": "{"}, "stored state cannot be read"),
    "empty": ({"state": "{}"}, "no valid N"),
    "null": ({"state": "null"}, "no valid N"),
    "out of bounds": ({"state": '{"N": 100, "c": 17}'}, "no valid c"),
    "wrong type": ({"state": '{"N": "100", "c": 0.9}'}, "no valid N"),
    "not whole": ({"state": '{"N": 10.5, "c": 0.9}'}, "no valid N"),
    "other version": ({"version": "0"}, "version 0"),
    "unknown figure": ({"module": "constructor"}, "no figure constructor"),
    "a module that is no figure": ({"module": "common"}, "no figure common"),
}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder with a page for each figure, and one with figures whose state is broken."""
    folder = tmp_path_factory.mktemp("figures")
    for name, text in _pages.files(FIGURES).items():
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "course.css").write_bytes((ROOT / "book" / "_static" / "course.css").read_bytes())
    for figure in FIGURES:
        write_page(folder, f"{figure.module}.html", place(figure), [figure])
    broken = "".join(f'<div title="{name}">{place(Chain, **changes)}</div>' for name, (changes, _) in BROKEN.items())
    write_page(folder, "broken.html", place(Chain) + broken + place(Chain), [Chain])
    with Site(folder) as site:
        yield site


@pytest.fixture
def open_page(browser, site):
    """Open a figure's page: open_page(figure, scheme="file", **options of the browser's context)."""
    contexts = []

    def opened(figure, scheme="file", **options):
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.goto(site.base(scheme) + f"{figure if isinstance(figure, str) else figure.module}.html")
        return page

    yield opened
    for context in contexts:
        context.close()


def state_of(page):
    """The state of the page's figure, after the frame in which it is drawn."""
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return page.evaluate(
        "() => { const { snnModel: m } = document.querySelector('.snn-explorable');"
        "return Object.fromEntries(Object.keys(m.get('_limits')).map(name => [name, m.get(name)])); }"
    )


def set_state(page, **changes):
    """Change the state of the page's figure, as Python would."""
    page.evaluate(
        "changes => { for (const [name, value] of Object.entries(changes))"
        " document.querySelector('.snn-explorable').snnModel.set(name, value); }",
        changes,
    )
    state_of(page)


def middle(box):
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def drawn(limit, rng, corner=False):
    """One random value within the limits of a trait; a number is one of its bounds in a corner."""
    if limit["kind"] == "list":
        return [drawn(limit["of"], rng, corner) for _ in range(rng.integers(limit["min"], limit["max"] + 1))]
    if limit["kind"] in ("choice", "flag"):
        choices = limit.get("choices", [False, True])
        return choices[rng.integers(len(choices))]
    low, high = limit["min"], limit["max"]
    if corner:
        return (low, high)[rng.integers(2)]
    return int(rng.integers(low, high + 1)) if limit["kind"] == "whole" else float(rng.uniform(low, high))


def random_states(figure, number, seed=0):
    """Random states, each tenth of them a corner of what is allowed."""
    rng = np.random.default_rng(seed)
    limits = figure.limits().items()
    return [{name: drawn(limit, rng, k % 10 == 9) for name, limit in limits} for k in range(number)]


# --- in a page, without a kernel ------------------------------------------------------------------------------------


@each_figure
@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_page_with_a_figure_has_no_fault_wide_or_narrow(browser, site, figure, scheme):
    assert visit(browser, site, f"{figure.module}.html", scheme) == []


@each_figure
@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_figure_comes_to_life_in_the_place_of_its_picture(open_page, figure, scheme):
    page = open_page(figure, scheme)
    assert page.locator(".snn-live .snn-figure svg").first.is_visible()
    assert not page.locator(".snn-explorable > img").is_visible()
    assert page.locator(".snn-fault").count() == 0
    assert state_of(page) == figure().state()


@each_figure
def test_every_control_has_a_name_for_screen_readers(open_page, figure):
    page = open_page(figure)
    tree = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
    roles = {"slider", "combobox", "button", "checkbox", "spinbutton"}
    names = [node["name"]["value"] for node in tree if node.get("role", {}).get("value") in roles]
    assert len(names) == page.locator(f".snn-figure :is({CONTROLS})").count() > 0
    assert all(name.strip() for name in names) and not re.search(r"[*{}]", "".join(names)), names


def press(control):
    """Work a control by a key that changes something."""
    control.focus()
    kind = control.evaluate("node => node.type || node.getAttribute('role')")
    if kind in ("button", "checkbox"):
        control.press("Space")
        return
    at_end = control.evaluate(
        "node => node.options ? node.selectedIndex === node.options.length - 1"
        " : Number(node.value ?? node.ariaValueNow) >= Number(node.max ?? node.ariaValueMax)"
    )
    control.press(
        ("ArrowUp" if at_end else "ArrowDown") if kind == "select-one" else ["ArrowRight", "ArrowLeft"][at_end]
    )


@each_figure
def test_every_control_is_reached_and_worked_by_the_keyboard(open_page, figure):
    page = open_page(figure)
    for control in page.locator(CONTROLS).all():
        assert control.evaluate("node => node.tabIndex") == 0
        before = state_of(page)
        press(control)
        assert state_of(page) != before, control.evaluate("node => node.outerHTML")


@each_figure
def test_the_focus_is_visible(open_page, figure):
    page = open_page(figure)
    for k in range(page.locator(CONTROLS).count()):
        page.keyboard.press("Tab")
        outline = (
            "getComputedStyle(document.activeElement.querySelector('.snn-knob') ?? document.activeElement).outlineStyle"
        )
        assert page.evaluate("document.activeElement.matches('.snn-figure *')"), k
        assert page.evaluate(outline) != "none", k


def drag_by_mouse(page, start, end):
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(*end, steps=4)
    page.mouse.up()


def drag_by_touch(page, start, end):
    session = page.context.new_cdp_session(page)
    points = [(start[0] + t * (end[0] - start[0]), start[1] + t * (end[1] - start[1])) for t in (0, 0.3, 0.6, 1)]
    for k, (x, y) in enumerate(points):
        kind = "touchMove" if k else "touchStart"
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y}]})
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


@each_figure
@pytest.mark.parametrize("drag", [drag_by_mouse, drag_by_touch])
def test_sliders_and_handles_can_be_dragged(open_page, figure, drag):
    page = open_page(figure, has_touch=drag is drag_by_touch)
    for control in page.locator("input[type=range], .snn-knob").all():
        control.scroll_into_view_if_needed()
        before, box = state_of(page), control.bounding_box()
        x, y = middle(box)
        if control.evaluate("node => node.matches('.snn-knob')"):
            plot = control.locator("xpath=ancestor::*[local-name()='svg']").bounding_box()
            centre = middle(plot)
            drag(page, (x, y), ((x + centre[0]) / 2, (y + centre[1]) / 2))
        else:
            share = control.evaluate("node => (node.value - node.min) / (node.max - node.min)")
            thumb = box["x"] + 8 + share * (box["width"] - 16)
            drag(page, (thumb, y), (box["x"] + box["width"] * (0.3 if share > 0.5 else 0.7), y))
        assert state_of(page) != before, control.evaluate("node => node.outerHTML")


@each_figure
def test_the_result_is_said_in_words_that_follow_the_state(open_page, figure):
    page = open_page(figure)
    status = page.locator(".snn-figure [role=status][aria-live=polite]")
    said = set()
    for state in random_states(figure, 3):
        set_state(page, **state)
        state_of(page)
        said.add(status.inner_text())
    assert len(said) == 3 and all(len(text) > 15 for text in said), said
    assert not re.search(r"NaN|undefined|\[object|[*{}]", "".join(said)), said


@pytest.mark.parametrize(
    "figure, state, words",
    [
        (SelfNormalizingMap, {"omega": 0.1}, "Level (0, 1) attracts"),
        (SelfNormalizingMap, {"omega": 0.1}, "all came within 2 % of it"),
        (SelfNormalizingMap, {"omega": 0.1}, "g(Ω) lies within Ω"),
        (SelfNormalizingMap, {"omega": 0.6}, "g(Ω) does not lie within Ω"),
        (SelfNormalizingMap, {"omega": 1.0}, "Level (0, 1) repels"),
        (SelfNormalizingMap, {"omega": 1.0}, "2 died out (ν < 0.01), 2 grew beyond 100"),
        (SelfNormalizingMap, {"activation": "relu"}, "no level"),
        (SeluDesigner, {}, "α = 1.6733 and λ = 1.0507 fix (0, 1). It attracts"),
        (SeluDesigner, {"mu": 0.1, "omega": 1.0}, "It repels"),
        (SeluDesigner, {"mu": 0.69}, "No SELU has the fixed point (0.69, 1)"),
    ],
)
def test_a_figure_says_what_becomes_of_the_signal(open_page, figure, state, words):
    page = open_page(figure)
    set_state(page, **state)
    assert words in page.locator(".snn-status").inner_text().replace("\xa0", " ")


@pytest.mark.parametrize("touch", [False, True])
def test_the_nearest_start_comes_where_one_taps(open_page, touch):
    page = open_page(SelfNormalizingMap, has_touch=touch)
    before, box = state_of(page), page.locator(".snn-plot").bounding_box()
    spot = box["x"] + 0.75 * box["width"], box["y"] + 0.3 * box["height"]
    (page.touchscreen.tap if touch else page.mouse.click)(*spot)
    after = state_of(page)
    assert [k for k in range(4) if after["mu"][k] != before["mu"][k]] == [1]  # the start at the upper right
    knob = page.locator(".snn-knob").nth(1).bounding_box()
    assert middle(knob) == pytest.approx(spot, abs=1.5)


CONTRAST = """() => {
  const rgb = (color) => color.match(/[\\d.]+/g).slice(0, 3).map(Number);
  const light = (color) => {
    const [r, g, b] = rgb(color).map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = light(getComputedStyle(document.body).backgroundColor);
  const texts = [...document.querySelectorAll(".snn-plot text, .snn-status, .snn-control")];
  return Math.min(...texts.map(node => {
    const ink = light(getComputedStyle(node)[node.ownerSVGElement ? "fill" : "color"]);
    return (Math.max(ink, ground) + 0.05) / (Math.min(ink, ground) + 0.05);
  }));
}"""


@each_figure
@pytest.mark.parametrize("theme", THEMES)
def test_words_are_legible_in_both_themes(open_page, figure, theme):
    page = open_page(figure)
    page.evaluate("theme => { document.documentElement.dataset.theme = theme; }", theme)
    assert page.evaluate(CONTRAST) >= 4.5


@each_figure
def test_nothing_moves_by_itself_when_the_reader_wants_no_motion(open_page, figure):
    page = open_page(figure, reduced_motion="reduce")
    for control in page.locator(CONTROLS).all():
        press(control)
    assert page.evaluate("document.getAnimations().length") == 0


@each_figure
def test_a_narrow_plot_keeps_the_size_of_its_text(open_page, figure):
    wide, narrow = open_page(figure), open_page(figure, viewport=PHONE)
    height = "document.querySelector('.snn-plot text').getBoundingClientRect().height"
    sizes = [page.evaluate(height) for page in (wide, narrow)]
    assert sizes[0] == pytest.approx(sizes[1], abs=0.5)


@each_figure
def test_without_scripts_the_picture_stands_there_with_its_alternative_text(open_page, figure):
    page = open_page(figure, java_script_enabled=False)
    picture = page.locator(".snn-explorable > img")
    assert picture.is_visible() and picture.bounding_box()["width"] > 100
    assert len(picture.get_attribute("alt")) > 20
    assert page.locator(".snn-explorable > *").count() == 1


@each_figure
def test_on_paper_the_picture_stands_there(open_page, figure):
    page = open_page(figure)
    page.emulate_media(media="print")
    assert page.locator(".snn-explorable > img").is_visible()
    assert not page.locator(".snn-live").is_visible()


def test_a_broken_state_is_said_in_its_place_and_the_page_lives(open_page):
    page = open_page("broken")
    for name, (_, words) in BROKEN.items():
        spot = page.locator(f'[title="{name}"]')
        assert words in spot.locator(".snn-fault").inner_text()
        assert spot.locator("img").is_visible() and spot.locator(".snn-live").count() == 0
    assert page.locator(".snn-mounted").count() == 2


COMPUTE = """([name, states]) => states.map(state => snnModules[name].compute(state))"""


@pytest.mark.timeout(900)  # a reference may search for a fixed point in each state
@pytest.mark.parametrize("figure", [f for f in FIGURES if f is not TrainHere], ids=lambda figure: figure.__name__)
def test_the_numbers_agree_with_python_at_random_states(open_page, figure):
    states = random_states(figure, STATES)
    reference = REFERENCES[figure.__name__]
    for state, found in zip(states, open_page(figure).evaluate(COMPUTE, [figure.module, states]), strict=True):
        expected = reference(state)
        assert set(found) == set(expected)
        for name in expected:
            ours, theirs = np.asarray(found[name], float), np.asarray(expected[name], float)
            assert ours.shape == theirs.shape, (name, state)
            with np.errstate(invalid="ignore"):
                error = np.where(ours == theirs, 0, np.abs(ours - theirs))  # both may be infinite
            assert ((error <= TOLERANCE) | (error <= TOLERANCE * np.abs(theirs))).all(), (name, state)


NETWORKS = "states => states.map(state => [...snnModules.signal_through_depth.networks(state)].filter(Boolean))"


def test_the_networks_of_signal_through_depth_are_those_that_numpy_runs(open_page):
    states = [state | {"n": 10 * k} for k, state in enumerate(random_states(SignalThroughDepth, 20), 1)]
    for state, found in zip(states, open_page(SignalThroughDepth).evaluate(NETWORKS, states), strict=True):
        for network, expected in zip(found, SignalThroughDepth(**state).measured(), strict=True):
            ours = np.array([network["q"], network["gradient"]], float)
            np.testing.assert_allclose(ours, expected, rtol=TOLERANCE, err_msg=str(state))


def test_the_networks_of_signal_through_depth_appear_when_the_state_rests(open_page):
    page = open_page(SignalThroughDepth)
    note = page.get_by_text("measuring …")
    note.first.wait_for(state="detached")
    dots = page.locator(".snn-dots.snn-vermillion")
    before = [dots.nth(k).get_attribute("d") for k in range(dots.count())]
    page.get_by_role("button", name="new draw").click()
    note.first.wait_for()
    note.first.wait_for(state="detached")
    assert len(before) == dots.count() and dots.first.get_attribute("d") != before[0]


# --- training in the page --------------------------------------------------------------------------------------------

TRAIN = """([state, steps]) => {
  const run = snnModules.training.training(state);
  const start = [...run.network.parameters];
  for (let k = 0; k < steps; k++) run.advance();
  const { x, labels, first, losses, network: { parameters } } = run;
  return { x: [...x], labels: [...labels], first, losses, start, end: [...parameters] };
}"""


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"activation": "selu", "rate": 0.01, "seed": 5},
        {"activation": "relu", "initialization": "he", "depth": 4, "data": "xor"},
        {"activation": "tanh", "initialization": "xavier", "depth": 1, "rate": 0.3},
    ],
)
def test_training_in_the_page_is_that_of_the_package(open_page, settings):
    state, steps = TrainHere(**settings).state(), 12
    found = open_page(TrainHere).evaluate(TRAIN, [state, steps])
    network = backprop.Network([2, *[16] * state["depth"], 2], state["activation"])
    ends = np.cumsum([array.size for array in network.parameters])[:-1]
    for array, values in zip(network.parameters, np.split(np.array(found["start"]), ends), strict=True):
        array[...] = values.reshape(array.shape)
    x, labels = np.reshape(found["x"], (-1, 2)), np.array(found["labels"])
    assert np.allclose([x.mean(axis=0), x.var(axis=0)], [[0, 0], [1, 1]]) and labels.mean() == 0.5
    losses = []
    for k in range(steps + 1):
        batch = (np.arange(64) + 64 * k) % len(x)
        loss, upstream = backprop.softmax_cross_entropy(network.forward(x[batch]), labels[batch])
        gradients = network.backward(upstream)[1]
        if k == 0:
            assert found["first"] == pytest.approx([np.linalg.norm(g) for g in gradients[::2]], rel=1e-9)
        losses.append(loss)
        for array, gradient in zip(network.parameters, gradients, strict=True):
            array -= (k < steps) * state["rate"] * gradient
    assert found["losses"] == pytest.approx(losses, rel=1e-7)
    assert np.allclose(found["end"], np.concatenate([array.ravel() for array in network.parameters]), atol=1e-8)


def wait_until(page, condition):
    """Wait until the figure's state, `s`, and what it says, `said`, are so."""
    page.wait_for_function(
        "() => { const { snnModel } = document.querySelector('.snn-explorable'), s = (name) => snnModel.get(name);"
        f" const said = document.querySelector('.snn-status').textContent; return {condition}; }}"
    )


def test_training_starts_pauses_goes_on_and_is_reset(open_page):
    page = open_page(TrainHere)
    page.get_by_role("button", name="start").click()
    wait_until(page, "s('steps') > 3")
    page.get_by_role("button", name="pause").click()
    paused = state_of(page)["steps"]
    page.wait_for_timeout(200)
    assert state_of(page)["steps"] == paused
    page.get_by_role("button", name="start").click()
    wait_until(page, f"s('steps') > {paused} + 3")
    page.get_by_role("button", name="reset").click()
    assert state_of(page) == TrainHere().state()
    wait_until(page, "said.startsWith('Before the first step')")


def test_training_is_the_same_each_time_whether_interrupted_or_not(open_page):
    page = open_page(TrainHere)
    set_state(page, activation="selu")
    said = []
    for stops in ([30], [7, 8, 30]):
        for steps in (0, *stops):
            set_state(page, steps=steps)
            wait_until(page, f"said.includes('step {steps}:') || {steps} === 0 && said.startsWith('Before')")
        said.append(page.locator(".snn-status").inner_text())
    assert said[0] == said[1]


def test_another_setting_begins_anew(open_page):
    page = open_page(TrainHere)
    set_state(page, steps=5)
    wait_until(page, "said.includes('step 5:')")
    page.locator("select[name=activation]").select_option("ReLU")
    wait_until(page, "s('steps') === 0 && said.startsWith('Before the first step')")


def test_divergence_is_said_and_ends_training(open_page):
    page = open_page(TrainHere)
    set_state(page, activation="selu", initialization="he", rate=0.3)
    state_of(page)
    set_state(page, running=True)
    wait_until(page, "!s('running') && said.startsWith('Diverged at step')")


def test_training_rests_while_the_figure_is_off_the_screen(open_page):
    page = open_page(TrainHere)
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<div style=\"height: 5000px\"></div>')")
    set_state(page, running=True)
    wait_until(page, "s('steps') > 0")
    page.evaluate("scrollTo(0, 5000)")
    page.wait_for_timeout(200)
    rested = state_of(page)["steps"]
    page.wait_for_timeout(300)
    assert state_of(page)["steps"] == rested
    page.evaluate("scrollTo(0, 0)")
    wait_until(page, f"s('steps') > {rested}")


def test_the_page_stays_responsive_while_a_network_is_trained(open_page):
    page = open_page(TrainHere)
    set_state(page, activation="gelu", running=True)
    waits = page.evaluate("""async () => {
      const waits = [];
      for (let last = performance.now(), end = last + 2000; last < end;) {
        await new Promise(done => setTimeout(done));
        const now = performance.now();
        waits.push(now - last);
        last = now;
      }
      return waits.sort((a, b) => a - b);
    }""")
    print(f"longest task while training: {waits[-1]:.0f} ms, median {waits[len(waits) // 2]:.1f} ms")
    assert waits[len(waits) // 2] < 100 and waits[-1] < 500


# --- the scripts ------------------------------------------------------------------------------------------------------


def test_all_scripts_together_are_small_and_our_own():
    files = _pages.files(FIGURES)
    assert sum(len(text.encode()) for name, text in files.items() if name.endswith(".js")) <= MOST_BYTES
    addresses = {address for text in files.values() for address in re.findall(r"\w+://[^\s\"']+", text)}
    assert addresses == {"http://www.w3.org/2000/svg"}  # the name of a vocabulary, which nothing fetches


@pytest.fixture
def js(tmp_path, monkeypatch):
    """A folder of scripts in the place of the package's: js(name="text", ...)."""
    monkeypatch.setattr(_bundle, "JS", tmp_path)
    _bundle.source.cache_clear()
    yield lambda **files: [(tmp_path / f"{name}.js").write_text(text) for name, text in files.items()]
    _bundle.source.cache_clear()


def test_files_are_put_together_each_after_what_it_imports(js, open_page):
    js(
        a='import { two } from "./b.js";\nimport { three } from "./c.js";\nexport const six = two * three(1);\n',
        b='import { three } from "./c.js";\nconst hidden = 1;\nexport const two = three(hidden) - 1;\n',
        c="const hidden = 3;\nexport function three(x) {\n  return hidden * x;\n}\n",
    )
    assert _bundle.order("a") == ["c", "b", "a"]
    text = "const snnModules = {};" + "".join(map(_bundle.scope, _bundle.order("a"))) + "snnModules.a"
    assert open_page(Chain).evaluate(f"() => {{ return eval({json.dumps(text)}); }}") == {"six": 6}


@pytest.mark.parametrize(
    "text, message",
    [
        ('import { four } from "./b.js";\n', "imports four, which b.js does not export"),
        ('import b from "./b.js";\n', "module syntax that is not understood: import b"),
        ("export default 1;\n", "not understood: export default"),
        ('const b = await import("./b.js");\n', "not understood: import"),
        ('import { a } from "./a.js";\n', "in a circle: a > a"),
    ],
)
def test_module_syntax_that_the_bundler_does_not_know_is_refused(js, text, message):
    js(a=text, b="export const two = 2;\n")
    with pytest.raises(ValueError, match=re.escape(message)):
        [_bundle.scope(name) for name in _bundle.order("a")]


# --- in Python --------------------------------------------------------------------------------------------------------


def test_the_package_is_imported_without_widgets():
    command = "import sys, snnlib, snnlib.figures; assert not {'anywidget', 'ipywidgets'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", command], check=True)


@each_figure
def test_two_figures_of_the_same_state_are_shown_by_the_same_output(figure):
    first, second = (figure()._repr_mimebundle_() for _ in range(2))
    for mime in ("text/html", "text/plain"):
        assert first[mime] == second[mime]
    assert "\n" not in first["text/plain"] and first["text/plain"].startswith(figure.__name__)
    assert first["application/vnd.jupyter.widget-view+json"]["model_id"]


@each_figure
def test_the_stored_state_is_the_state(figure):
    [state] = random_states(figure, 1)
    text = figure(**state)._repr_mimebundle_()["text/html"]
    assert json.loads(html.unescape(re.search('data-state="([^"]*)"', text).group(1))) == state


def test_a_shown_figure_has_label_alternative_text_and_caption(monkeypatch):
    calls = []
    monkeypatch.setattr(explorables._base, "publish_display_data", lambda *a, **k: calls.append((*a, k["metadata"])))
    about = {"name": "fig-chain", "alt": 'Bars that fall from 1 to "nothing".', "caption": "A chain."}
    Chain().show(**about)
    [(data, metadata)] = calls
    assert metadata["snn_figure"].items() >= about.items()
    assert f'alt="{html.escape(about["alt"])}"' in data["text/html"]
    with pytest.raises(ValueError, match="alt must describe"):
        Chain().show(name="fig-chain", alt="", caption="A chain.")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.4, 1.6, "1", None])
def test_a_number_out_of_its_bounds_is_refused(value):
    chain = Chain()
    with pytest.raises(traitlets.TraitError):
        chain.c = value
    assert chain.c == 0.9


@pytest.mark.parametrize("trait", [traitlets.Float(1.0), traitlets.Int(1, min=0), traitlets.Unicode("a")])
def test_state_without_bounds_is_refused(trait):
    class Unbounded(Chain):
        more = trait.tag(sync=True)

    with pytest.raises(TypeError, match="'more'"):
        Unbounded.limits()
