"""The page: its controls, and what happens when they are used."""

import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import gradio as gr

from fomm.animator import AnimationSettings
from fomm.animator.settings import STRONGEST, Region
from fomm.download import cache_folder
from fomm.errors import InputError
from fomm.known import KNOWN
from fomm.model.face import Edit
from fomm.video import write_image
from preprocess.synthetic.puppets import Pose, draw, framing, random_identity
from studio import shown
from studio.animation import Tools, animate_files, look
from studio.jobs import Job, Stopped
from studio.live import Setting
from studio.portrait import EditedPortrait, play_files
from studio.visitors import ASSETS, Studio

EXAMPLE_CLIP = ASSETS / "speaker.mp4"
DRAWN_EXAMPLES = (11, 23)  # identities drawn when the page starts, beside the portrait that comes with the package
KEPT_S = 3600  # Gradio removes files after this time
HIDDEN: Final = "hidden"  # there, but not seen; what is not there yet can miss what it is told while it is made
SWITCHES = ("crop", "embed", "best_frame", "label")
QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
AT_ONCE = {**QUIET, "concurrency_limit": None}  # the studio has queues of its own
LIVE_SCRIPT = Path(__file__).with_name("live.js")
LIVE_VIEW = """
<div class="live">
<div><canvas class="camera" width="480" height="360" role="img" aria-label="Camera"></canvas>
<p><button class="start">Start the camera</button>
<button class="neutral" disabled>This is my neutral pose</button></p></div>
<div><canvas class="animated" width="480" height="360" role="img" aria-label="Live animation"></canvas>
<p><span class="rate" aria-label="Frame rate"></span>
<span class="note" role="status">The animated photo appears here.</span></p></div>
</div>
"""


def build_page(work: Studio, models: list[str], *, with_report: bool) -> gr.Blocks:
    """The page.

    Args:
        models: names and files to choose from; the first is chosen.
        with_report: a report is served at /report.
    """
    with gr.Blocks(title="fomm studio", analytics_enabled=False, delete_cache=(KEPT_S // 4, KEPT_S)) as page:
        gr.HTML(
            "<h1>Studio</h1><p>The face in the photo moves as the face in the video does. Animate only people who "
            "agreed to it; every result says that it is synthetic.</p>",
            elem_id="title",
        )
        with gr.Tab("Animate"):
            AnimateTab(work, models)
        with gr.Tab("Portrait"):
            PortraitTab(page, work)
        with gr.Tab("Live"):
            live_tab(page, work, models)
        if with_report:
            with gr.Tab("Report"):
                frame = '<iframe src="/report" title="Report of evaluate.py" sandbox></iframe>'
                gr.HTML(frame, elem_classes="report")

        def leave(request: gr.Request) -> None:
            work.leave(visit(request))

        page.unload(leave)
    return page


class AnimateTab:
    """The tab for files: its controls, and what happens when they are used. To be made inside of the tab."""

    def __init__(self, work: Studio, models: list[str]) -> None:
        self.work = work
        self._add_inputs()
        self._add_choices(models)
        self._add_results()
        self._connect()

    def _add_inputs(self) -> None:
        with gr.Row():
            self.photo = photo_input(height=320, min_width=300)
            self.video = gr.Video(
                label="Driving video",
                sources=["upload", "webcam"],
                include_audio=True,
                min_width=300,
                elem_id="driving",
            )
        gr.Markdown("Or see one of these animated by a talking puppet, with one click:")
        with gr.Row():
            self.examples = {
                path: gr.Button(name, icon=path, elem_classes="example", min_width=130)
                for name, path in example_photos(self.work.folder).items()
            }
        nothing = shown.hint("Add a photo and a video: what is found in them is shown here.")
        self.found = gr.HTML(nothing, container=True, padding=True)

    def _add_choices(self, models: list[str]) -> None:
        with gr.Accordion("Choices", open=True):
            with gr.Row():
                self.checkpoint = model_choice(models)
                self.face = gr.Radio([("the largest", 1)], value=1, label=shown.LABELS["face"])
                self.track = gr.Radio([("seen longest", 1)], value=1, label=shown.LABELS["track"])
            with gr.Row():
                self.room = gr.Slider(
                    0.7,
                    2.0,
                    1.0,
                    step=0.05,
                    label=shown.LABELS["scale"],
                    info="Around the face; 1 is what the model knows.",
                )
                self.motion = gr.Radio(
                    [("Relative", True), ("Absolute", False)],
                    value=True,
                    label="Motion",
                    info="Relative: the video's changes, from the photo's own pose. Absolute: the video's poses.",
                )
            with gr.Row():
                self.region, self.strength = region_choice(), strength_choice()
            self.switches = gr.CheckboxGroup(
                [(shown.LABELS[name], name) for name in SWITCHES],
                value=["crop", "embed", "best_frame"],
                label="How",
            )

    def _add_results(self) -> None:
        with gr.Row():
            self.go = gr.Button("Animate", variant="primary", scale=3)
            self.stop = gr.Button("Stop", variant="stop", interactive=False, scale=1)
        self.status = gr.HTML("", elem_id="status")
        with gr.Row():
            self.result = gr.Video(label="Result", interactive=False, visible=HIDDEN, min_width=300)
            self.beside = gr.Video(label="Photo, video and result", interactive=False, visible=HIDDEN, min_width=300)
        self.files = gr.File(
            label="Download: result, comparison, and the record of how it was made",
            interactive=False,
            visible=HIDDEN,
            elem_id="files",
        )
        self.results = self.result, self.beside, self.files

    def _connect(self) -> None:
        choices = [self.face, self.track, self.room, self.motion, self.switches, self.region, self.strength]
        inputs = [self.photo, self.video, self.checkpoint, *choices]
        changes = [self.photo.change, self.video.change, self.checkpoint.change, self.face.input, self.track.input]
        changes += [self.room.release, self.switches.input]
        looked = [self.found, self.face, self.track]
        gr.on(changes, self.show_found, inputs, looked, trigger_mode="multiple", **AT_ONCE)
        outputs = [self.status, *self.results, self.go, self.stop]
        self.go.click(self.animate, inputs, outputs, **AT_ONCE)
        self.stop.click(self.end, queue=False, **QUIET)
        filled = [self.photo, self.video, self.face, self.track]
        for path, example in self.examples.items():
            chosen = example.click(partial(example_choice, path), None, filled, **QUIET)
            chosen.then(self.animate, inputs, outputs, **AT_ONCE)

    def show_found(self, request: gr.Request, photo: Any, video: Any, checkpoint: str, *choices: Any) -> Iterator[dict]:
        """Look for faces, and show what is found."""
        visitor = self.work.visitor(visit(request), photo, video)
        if not (photo and video):
            missing = " and ".join(name for name, path in (("a photo", photo), ("a video", video)) if not path)
            yield {self.found: shown.hint(f"Add {missing}: what is found is shown here.")}
            return

        def search(tools: Tools, job: Job) -> dict:
            settings = chosen_settings(tools, *choices)
            first = replace(settings, face=1, track=1)
            try:
                seen = look(photo, video, settings, tools, progress=job.progress)
            except InputError:  # perhaps the choice belongs to the photo before
                if settings == first:
                    raise
                settings, seen = first, look(photo, video, first, tools, progress=job.progress)
            return {
                self.found: shown.found_view(seen, shown.drawn_both(seen, tools.faces), self.work.folder),
                self.face: numbered(len(seen.pairing.faces), settings.face, "the largest"),
                self.track: numbered(len(seen.pairing.tracks), settings.track, "seen longest"),
            }

        with suppress(Stopped):  # by a later choice, whose findings are shown
            yield from told(self.work.start("look", visitor, checkpoint, search), self.found, self.work.folder)

    def animate(self, request: gr.Request, photo: Any, video: Any, checkpoint: str, *choices: Any) -> Iterator[dict]:
        """Make the result, and show it."""
        visitor = self.work.visitor(visit(request), photo, video)
        if not (photo and video):
            yield {self.status: shown.wrong("Add a photo and a video first.")}
            return

        def make(tools: Tools, job: Job) -> dict:
            settings = chosen_settings(tools, *choices)
            made = animate_files(
                photo, video, visitor.fresh_output("result.mp4"), settings, tools, progress=job.progress
            )
            paths = [str(path) for path in made.files]
            return {
                self.status: shown.done_view(made, self.work.folder),
                self.result: gr.update(visible=True, value=paths[0]),
                self.beside: gr.update(visible=True, value=paths[1]),
                self.files: gr.update(visible=True, value=paths),
            }

        busy: dict[Any, dict] = {self.go: gr.update(interactive=False), self.stop: gr.update(interactive=True)}
        busy |= {result: gr.update(visible=HIDDEN) for result in self.results}
        job = self.work.start("animate", visitor, checkpoint, make)
        for news in told(job, self.status, self.work.folder, stopped="Stopped."):
            yield busy | news
        yield {self.go: gr.update(interactive=True), self.stop: gr.update(interactive=False)}

    def end(self, request: gr.Request) -> None:
        """Stop what `animate` does."""
        self.work.visitor(visit(request)).stop("animate")


def example_choice(photo: Path) -> tuple[Path, Path, int, int]:
    """What an example fills in: photo, video, face and track."""
    return photo, EXAMPLE_CLIP, 1, 1


class PortraitTab:
    """The tab in which a portrait is edited. To be made inside of the tab."""

    def __init__(self, page: gr.Blocks, work: Studio) -> None:
        self.work = work
        self._own: dict[str, EditedPortrait] = {}  # of the page's own pictures, which every visitor may open
        gr.Markdown("What the face is to do; 0 is the photo. Below, the picture is made at its full size.")
        with gr.Row():
            with gr.Column(min_width=260, scale=1):
                self.photo = photo_input(ASSETS / "portrait.png", height=300)
            with gr.Column(min_width=300, scale=2):
                self.view = gr.HTML(shown.hint("The edited portrait appears here."), elem_id="edited")
        with gr.Row():
            self.sliders = [
                gr.Slider(low, high, 0, step=1 if high > 1 else 0.05, label=label, min_width=240)
                for label, (low, high) in shown.SLIDERS.items()
            ]
        with gr.Row():
            self.make = gr.Button("Make the picture", variant="primary", elem_id="make", min_width=200)
            self.zero = gr.Button("Back to the photo", min_width=160)
        gr.Markdown("Or a video in which the portrait does one of these, with one click:")
        with gr.Row():
            self.motions = {
                path: gr.Button(path.stem.replace("_", " ").capitalize(), min_width=80)
                for path in sorted((ASSETS / "motions").glob("*.json"))
            }
        self.status = gr.HTML("", elem_id="portrait-status")
        self.video = gr.Video(label="The portrait in motion", interactive=False, visible=HIDDEN)
        self.files = gr.File(
            label="Download: result, and the record of how it was made", interactive=False, visible=HIDDEN
        )
        self._connect(page)

    def _connect(self, page: gr.Blocks) -> None:
        chosen: list[Any] = [self.photo, *self.sliders]
        changes = [page.load, self.photo.change, *(slider.change for slider in self.sliders)]
        # Without Gradio's queue it is one request, not two.
        gr.on(changes, self.show, chosen, self.view, trigger_mode="always_last", queue=False, **QUIET)
        self.zero.click(lambda: [0] * len(self.sliders), None, self.sliders, **QUIET)
        results = [self.status, self.video, self.files]
        self.make.click(self.make_picture, chosen, results, **AT_ONCE)
        for path, button in self.motions.items():
            button.click(self.player(path), [self.photo], results, **AT_ONCE)

    def show(self, request: gr.Request, photo: str | None, *values: float) -> dict:
        visitor = self.work.visitor(visit(request), photo)
        if photo is None:
            return {self.view: shown.hint("Add a photo first.")}

        def draw_edit(tools: Tools, job: Job) -> dict:
            if visitor.portrait is None or visitor.portrait.photo != photo:
                visitor.portrait = self._own.get(photo) or EditedPortrait(photo, tools)
                if Path(photo) in self.work.shared:
                    self._own[photo] = visitor.portrait
            return {self.view: shown.before_and_after(*visitor.portrait(edit_of(values)))}

        try:
            *_, answer = told(self.work.start("look", visitor, "face", draw_edit), self.view, self.work.folder)
        except Stopped:  # by a later choice
            return gr.skip()
        return answer

    def make_picture(self, request: gr.Request, photo: str | None, *values: float) -> Iterator[dict]:
        yield from self._finished(request, photo, edit_of(values), "portrait.png")

    def player(self, path: Path) -> Callable[..., Iterator[dict]]:
        """What a click on the button of a motion file does."""

        def play(request: gr.Request, photo: str | None) -> Iterator[dict]:
            yield from self._finished(request, photo, path, "portrait.mp4")

        return play

    def _finished(self, request: gr.Request, photo: str | None, motion: Edit | Path, name: str) -> Iterator[dict]:
        visitor = self.work.visitor(visit(request), photo)
        if photo is None:
            yield {self.status: shown.wrong("Add a photo first.")}
            return

        def finish(tools: Tools, job: Job) -> dict:
            output = visitor.fresh_output(name)
            made = play_files(photo, motion, output, AnimationSettings(), tools, progress=job.progress)
            paths = [str(path) for path in made.files]
            moves = output.suffix == ".mp4"
            return {
                self.status: shown.done_view(made, self.work.folder),
                self.video: gr.update(visible=moves, value=paths[0] if moves else None),
                self.files: gr.update(visible=True, value=paths),
            }

        job = self.work.start("animate", visitor, "face", finish)
        yield from told(job, self.status, self.work.folder, stopped="Stopped.")


def edit_of(values: tuple[float, ...]) -> Edit:
    """What the sliders say, in the order of `shown.SLIDERS`."""
    yaw, pitch, roll, smile, mouth, eyes, brows, aside, up = (float(value) for value in values)
    return Edit(yaw, pitch, roll, smile, mouth, eyes, (aside, up), brows)


def visit(request: gr.Request) -> str:
    """By which a visitor is known, from opening the page to leaving it."""
    assert request.session_hash is not None, "every request of the page has one"
    return request.session_hash


def chosen_settings(
    tools: Tools,
    face: int,
    track: int,
    room: float,
    relative: bool,
    switches: list[str],
    region: Region,
    strength: float,
) -> AnimationSettings:
    """What the page's controls say. `room` is the crop's size as a share of the model's own."""
    crop, embed, best_frame, label = (name in switches for name in SWITCHES)
    return AnimationSettings(
        relative=relative, best_frame=best_frame, crop=crop, embed=embed and crop, side_by_side=True, label=label,
        face=face, track=track, scale=room * tools.scale, region=region, strength=f"{strength:g}",
    )  # fmt: skip


def region_choice() -> gr.Radio:
    return gr.Radio(
        [("All", "all"), ("Head", "pose"), ("Face", "expression"), ("Mouth", "mouth"), ("Eyes", "eyes")],
        value="all",
        label=shown.LABELS["region"],
        info="With the model “face”; the others move all.",
    )


def strength_choice() -> gr.Slider:
    return gr.Slider(
        0, STRONGEST, 1, step=0.05, label=shown.LABELS["strength"], info="0 is the photo, 1 as the driver."
    )


def live_tab(page: gr.Blocks, work: Studio, models: list[str]) -> None:
    gr.Markdown(
        "The photo moves as you do, as in a mirror. Look straight into the camera with your mouth shut and start it: "
        "the pose that you have then counts as the photo's own. *This is my neutral pose* takes another. "
        "Nothing is stored."
    )
    view = gr.HTML({}, html_template=LIVE_VIEW, js_on_load=LIVE_SCRIPT.read_text(), elem_id="live")
    with gr.Row():
        with gr.Column(min_width=300):
            photo = photo_input(ASSETS / "portrait.png", height=260)
        with gr.Column(min_width=300):
            checkpoint = model_choice(models)
            fast = gr.Radio(
                [("Fast: a smaller picture", True), ("Fine: full size", False)], value=False, label="Picture"
            )

            region, strength = region_choice(), strength_choice()

    def choose(
        request: gr.Request, photo: str | None, checkpoint: str, fast: bool, region: Region, strength: float
    ) -> dict:
        visitor = work.visitor(visit(request), photo)
        visitor.setting = Setting(photo, checkpoint, fast, region, f"{strength:g}") if photo else None
        return {"name": visitor.folder.name, "ahead": work.live_frames_at_once}

    chosen: list[Any] = [photo, checkpoint, fast, region, strength]
    changes = [page.load, *(control.change for control in chosen)]
    gr.on(changes, choose, chosen, view, trigger_mode="always_last", queue=False, **QUIET)  # the last one holds


def photo_input(value: Path | None = None, **look: Any) -> gr.Image:
    """A picture that `infer.py` reads itself, as it is: it knows more kinds, and says in words what is wrong."""
    image = gr.Image(
        str(value) if value else None, label="Photo", type="filepath", sources=["upload", "webcam", "clipboard"], **look
    )
    image.preprocess = _path_of  # type: ignore[method-assign, assignment]  # as in `server.close_gaps`
    return image


def _path_of(payload: Any) -> str | None:
    return payload and payload.path


def told(job: Job, place: gr.HTML, folder: Path, *, stopped: str = "") -> Iterator[dict]:
    """Updates of the page while a job runs, and then what it returned, or a sentence in `place`.

    Stops the job where nobody wants them any more. If somebody else did, `stopped` is said, or Stopped is raised.
    """
    with job:
        for _ in job.watch():
            yield {place: shown.working_view(*job.news)}
        try:
            yield job.result()
        except Stopped:
            if not stopped:
                raise
            yield {place: shown.hint(stopped)}
        except InputError as error:
            yield {place: shown.wrong(shown.in_page_words(str(error), folder))}
        except Exception:  # our own fault: the visitor gets a sentence, the terminal the rest
            traceback.print_exc()
            yield {place: shown.wrong("This failed through a fault of the program; its terminal says more.")}


def model_choice(models: list[str]) -> gr.Dropdown:
    return gr.Dropdown(
        [(model_label(name), name) for name in models],
        value=models[0],
        label=shown.LABELS["checkpoint"],
        info="“face” animates any face at once, “puppets” drawn puppets only; the others are fetched.",
    )


def model_label(name: str) -> str:
    known = KNOWN.get(name)
    if known is None:
        return Path(name).name
    if known.embedded:
        return f"{name} (included)"
    here = (cache_folder() / known.file).exists()
    return f"{name} ({known.category}, {'is here' if here else 'fetched when chosen'})"


def example_photos(folder: Path) -> dict[str, Path]:
    """The portrait that comes with the package, and a few more puppets, by name."""
    photos = {"Portrait": ASSETS / "portrait.png"}
    for number, seed in enumerate(DRAWN_EXAMPLES, 1):
        identity, pose = random_identity(seed), Pose()
        photos[f"Puppet {number}"] = path = folder / "examples" / f"puppet-{number}.png"
        write_image(path, draw(identity, pose, 480, framing(identity, [pose], scale=2.4)).image)
    return photos


def numbered(count: int, chosen: int | None, first: str) -> dict:
    """The choices of a radio for faces 1 to `count`."""
    names = [f"{number}, {first}" if number == 1 else str(number) for number in range(1, count + 1)]
    names = names if count > 1 else [first]
    chosen = chosen if chosen and chosen <= count else 1
    return gr.update(choices=[(name, number) for number, name in enumerate(names, 1)], value=chosen)
