"""Visitors of the page, their jobs and the threads that work for them.

Three threads share the work, so that a long job keeps nobody from looking at what was found or from going live; in each
of them jobs wait their turn. MediaPipe's models belong to the thread that made them.
"""

from __future__ import annotations

import asyncio
import secrets
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fomm.animator import AnimationSettings, ModelSettings, choose_device, lanes_for
from fomm.animator.settings import Precision
from fomm.errors import InputError
from fomm.video import MAX_VIDEO_PIXELS, read_image
from preprocess.faces import FaceFinder, SharedFinder
from preprocess.pairing import Tracked
from studio import shown
from studio.animation import Tools, load_tools
from studio.jobs import Job, Stopped
from studio.live import Live, Setting, as_jpeg, make_live, read_jpeg
from studio.portrait import EditedPortrait

ASSETS = Path(__file__).resolve().parent.parent / "fomm" / "assets"
MAX_IDLE_S = 3600.0  # a visitor without a request for so long has left
MAX_VISITORS = 50  # as many can be on the page at once
MAX_MODELS = 2  # loaded at once
WORKERS = ("look", "animate", "live")


@dataclass(eq=False)
class Visitor:
    """What belongs to one visit of the page, from opening to leaving it; nobody else gets to see it.

    `folder` (with an unguessable name) holds results; `uploads` are files that the page handed over, and which arrival
    of each it was.
    """

    folder: Path
    tracked: dict[Path, Tracked] = field(default_factory=dict)
    uploads: dict[Path, tuple[int, int]] = field(default_factory=dict)
    jobs: dict[str, Job] = field(default_factory=dict)  # the last one of each worker
    setting: Setting | None = None  # what is to be seen live
    beginning: Setting | None = None  # what the last live job was to begin
    live: Live | None = None
    portrait: EditedPortrait | None = None  # the one that is edited
    frames: int = 0  # of the camera, at work now
    last_seen: float = field(default_factory=time.monotonic)

    def stop(self, *workers: str) -> None:
        """Stop the jobs of these workers, or all."""
        for name, job in self.jobs.items():
            if not workers or name in workers:
                job.stop()

    def fresh_output(self, name: str) -> Path:
        """The path for a new result of this name; the earlier one is removed, those of other names stay."""
        place = self.folder / Path(name).stem
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        return place / name


def arrival(path: Path) -> tuple[int, int]:
    """Another one whenever a file is uploaded, or handed out by the page, once more."""
    state = path.stat()
    return state.st_ino, state.st_ctime_ns


class Studio:
    """Visitors and the threads that work for them.

    Args:
        folder: private, for everything that visitors bring and get.
        device, precision: as for `infer.py`.
    """

    def __init__(self, folder: Path, *, device: str = "auto", precision: Precision = "auto") -> None:
        self.folder = folder
        self.shared: set[Path] = set()  # files in the folder that belong to the page: they outlive every visitor
        self._device, self._precision = device, precision
        self._visitors: dict[str, Visitor] = {}
        self._lock = threading.RLock()
        self._pools = {name: ThreadPoolExecutor(1, thread_name_prefix=name) for name in WORKERS}
        self._jobs: dict[str, list[Job]] = {name: [] for name in WORKERS}
        self._looks = ThreadPoolExecutor(1, thread_name_prefix="live-looks")  # at live pictures, in order
        self._lanes = lanes_for(choose_device(device))  # which are then animated side by side
        self.live_frames_at_once = self._lanes.count + 2  # of one camera: more on their way while some are made
        self._own = threading.local()  # the face finder of each thread
        self._loading = threading.Lock()
        self._models: dict[str, Tools] = {}  # without a face finder; oldest first
        self._meshes: SharedFinder | None = None  # for all models that want meshes, made when first needed

    def visitor(self, key: str, *uploads: str | None) -> Visitor:
        """The visitor of this key; a new one if the key is new.

        Raises:
            InputError: too many people are on the page.
        """
        with self._lock:
            for old in [k for k, v in self._visitors.items() if time.monotonic() - v.last_seen > MAX_IDLE_S]:
                self.leave(old)
            if key not in self._visitors:
                if len(self._visitors) >= MAX_VISITORS:
                    raise InputError(f"{MAX_VISITORS} people are here already; come back later")
                folder = self.folder / secrets.token_urlsafe(24)
                folder.mkdir()
                self._visitors[key] = Visitor(folder)
            visitor = self._visitors[key]
            visitor.last_seen = time.monotonic()
            for path in (Path(upload) for upload in uploads if upload and self.folder in Path(upload).parents):
                with suppress(FileNotFoundError):
                    visitor.uploads.setdefault(path, arrival(path))
            return visitor

    def leave(self, key: str) -> None:
        """Stop the visitor's jobs and remove the visitor's files."""
        with self._lock:
            visitor = self._visitors.pop(key, None)
            if visitor is None:
                return
            visitor.stop()
            kept = self.shared.union(*(other.uploads for other in self._visitors.values()))
            for path in visitor.uploads.keys() - kept:  # equal files of two visitors are one file
                with suppress(FileNotFoundError):
                    if arrival(path) == visitor.uploads[path]:  # else somebody has just handed it over, too
                        path.unlink()
            shutil.rmtree(visitor.folder, ignore_errors=True)

    def start(self, worker: str, visitor: Visitor, checkpoint: str, work: Callable[[Tools, Job], Any]) -> Job:
        """Have `work` done; it takes the place of what this worker still does for the same visitor.

        A stopped job removes its unfinished files itself; those of a visitor who left meanwhile go with it.
        """
        with self._lock:
            if worker in visitor.jobs:
                visitor.jobs[worker].stop()
            queue = self._jobs[worker] = [job for job in self._jobs[worker] if not job.future.done()]
            job = visitor.jobs[worker] = Job(list(queue))
            queue.append(job)

            def run() -> Any:
                try:
                    job.progress("", 0, None)
                    return work(self._tools(checkpoint, visitor), job)
                except Exception as error:
                    if job.stopped:  # whose files may have gone while it was at work
                        raise Stopped from error
                    raise
                finally:
                    if visitor not in self._visitors.values():
                        shutil.rmtree(visitor.folder, ignore_errors=True)

            job.future = self._pools[worker].submit(run)
            return job

    async def drive(self, name: str, jpeg: bytes, *, neutral: bool = False) -> bytes:
        """The photo in the pose of a camera's picture, both as JPEG files.

        Args:
            name: of the visitor's folder.
            neutral: this picture's pose counts as the photo's own; that of the first one does in any case.

        Raises:
            InputError: whatever is wrong, with the photo, the camera's picture or the model.
            Stopped: there are too many pictures at once, one before it has not begun yet, or a newer one takes its
                place.
        """
        visitor = next((v for v in list(self._visitors.values()) if v.folder.name == name), None)
        if visitor is None:
            raise InputError("This visit has ended; reload the page.")
        visitor.last_seen = time.monotonic()
        setting = visitor.setting
        if setting is None:
            raise InputError("Add a photo first.")
        if visitor.frames >= self.live_frames_at_once:
            raise Stopped

        def begin(tools: Tools, job: Job) -> Live:
            live = visitor.live
            if live is None or live.setting != setting:
                photo = read_image(setting.photo, max_pixels=MAX_VIDEO_PIXELS)
                settings = AnimationSettings(region=setting.region, strength=setting.strength)
                visitor.live = live = make_live(tools, photo, setting, settings, fast=setting.fast)
            if neutral or not live.ready:
                live.begin(read_jpeg(jpeg))
            return live

        visitor.frames += 1
        try:
            current = visitor.live
            if neutral or current is None or current.setting != setting or not current.ready:
                last = visitor.jobs.get("live")
                if not neutral and last and not last.future.done() and visitor.beginning == setting:
                    raise Stopped
                visitor.beginning = setting
                job = self.start("live", visitor, setting.checkpoint, begin)  # where the face finder is
                begun: Live = await asyncio.get_running_loop().run_in_executor(None, job.result)
                current = begun
            live = current
            seen = await asyncio.wrap_future(self._looks.submit(lambda: live.look(read_jpeg(jpeg))))
            return await asyncio.wrap_future(self._lanes.submit(lambda seen: as_jpeg(live.show(seen)), seen))
        except InputError as error:
            raise InputError(shown.in_page_words(str(error), self.folder)) from error
        finally:
            visitor.frames -= 1

    def warm_up(self, checkpoint: str) -> None:
        """Load what everybody needs, so that the first click finds it ready."""
        for pool in self._pools.values():
            pool.submit(lambda: (self._finder(), self._loaded(checkpoint)))

    def close(self) -> None:
        """Stop all work; waits for it."""
        for key in list(self._visitors):
            self.leave(key)
        for pool in self._pools.values():
            pool.submit(lambda: self._finder().close())
            pool.shutdown()
        self._looks.shutdown(cancel_futures=True)
        self._lanes.close()
        if self._meshes:
            self._meshes.close()

    def _finder(self) -> FaceFinder:
        if not hasattr(self._own, "finder"):
            with self._loading:  # it silences the process's stderr until each of its models has found something
                self._own.finder = FaceFinder()
                self._own.finder.find(read_image(ASSETS / "portrait.png"))
        return self._own.finder

    def _tools(self, checkpoint: str, visitor: Visitor) -> Tools:
        finder = self._finder()
        return replace(self._loaded(checkpoint), finder=finder, landmarks=finder.landmarks, tracked=visitor.tracked)

    def _loaded(self, checkpoint: str) -> Tools:
        with self._loading:
            if checkpoint not in self._models:
                while len(self._models) >= MAX_MODELS:
                    del self._models[next(iter(self._models))]
                chosen = ModelSettings(checkpoint, device=self._device, precision=self._precision)
                self._meshes = self._meshes or SharedFinder()
                self._models[checkpoint] = load_tools(
                    chosen, AnimationSettings(crop=False), ExitStack(), lambda sentence: None, meshes=self._meshes
                )
            return self._models[checkpoint]
