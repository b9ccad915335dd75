"""One video -> its clips: fixed square crops of the faces in it, of given boxes, or of the whole picture.

Faces are found and followed by `find_tracks` and cropped by its rule, both as in inference. Only the looked-at frames
and the clips' parts of others are converted to RGB, and parts without a clip are jumped over; memory does not grow
with the video.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path

from fomm.manifest import Clip
from fomm.video import LazyFrame, VideoReader
from preprocess.dataset.clips import ClipWriter, Cut, Outcome, Reason, Reject, Rules, Video, View, write_clips
from preprocess.faces import FaceFinder, Lookout
from preprocess.track import EVERY, Track, find_shots, find_tracks

OUTSIDE = 0.15  # share of a crop that may lie outside of its frame, where it is larger than the frame
_SAME_RATE = 0.002  # frame rates that differ by less are one rate: 29.97 and 30000/1001


def prepare_video(
    video: Video,
    videos: Path,
    output: Path,
    rules: Rules,
    finder: FaceFinder | None,
    *,
    done: Mapping[str, Clip] | None = None,
    on_clip: Callable[[Clip], None] = lambda clip: None,
) -> Outcome:
    """Write all clips of a video that pass the filters into `output`/clips.

    Args:
        finder: looks for faces; None where `rules.detector` is none.
        done: clips that an earlier run finished, by their ids; they are kept.
        on_clip: is called with each clip that is finished.

    Raises:
        InputError: the video cannot be read.
        OutputFault: a clip cannot be written.
    """
    done = done or {}
    reader = VideoReader(videos / video.path, threads=1)
    outcome = Outcome()
    if video.given is not None:
        cuts = list(_given_cuts(video, reader, rules, outcome))
    else:
        cuts, stamps = _found_cuts(video, reader, rules, finder, outcome)
        outcome.seconds = float(stamps[-1] - stamps[0]) + 1 / float(reader.fps or 25)
    verifier = finder if video.given is not None else None
    new = [cut for cut in cuts if cut.clip_id not in done]
    writings = [ClipWriter(cut, output, rules, verifier, video, outcome, on_clip) for cut in new]
    outcome.clips += [done[cut.clip_id] for cut in cuts if cut.clip_id in done]
    write_clips(writings, reader)
    if video.given is not None:
        outcome.rejects += _damages(video, reader)
    if not outcome.seconds:
        outcome.seconds = float(sum(clip.frames / clip.fps for clip in outcome.clips))
    return outcome


def _found_cuts(
    video: Video, reader: VideoReader, rules: Rules, finder: FaceFinder | None, outcome: Outcome
) -> tuple[list[Cut], list[Fraction]]:
    """The clips that the tracks of a video (or the shots, without a detector) make, and the times of all frames."""
    stamps: list[Fraction] = []

    def stamped() -> Iterator[LazyFrame]:
        for frame in reader.lazy_frames():
            stamps.append(frame.time)
            yield frame

    found: list[tuple[int, int, Track | None]]
    if finder is None:
        found = [(start, stop, None) for start, stop in find_shots(stamped())]
    else:
        tracks = find_tracks(stamped(), Lookout(finder))
        tracks.sort(key=lambda track: (track.start, track.union_box_xyxy_px))
        found = [(track.start, track.stop, track) for track in tracks]
        if not tracks:
            looks = -(-len(stamps) // EVERY)
            outcome.rejects.append(Reject(video.path, None, None, "no_face", f"none in {looks} looked-at frames"))
    outcome.rejects += _damages(video, reader)  # the second reading may stop before it meets them again
    stamps_end = [*stamps, stamps[-1] + 1] if stamps else []
    cuts, names = [], Counter[str]()
    for start, stop, track in found:
        for first, last in _pieces(start, stop, rules.max_frames):
            piece = track.part(first, last) if track else None
            name = f"{video.key}#{first:06d}#{last:06d}"
            names[name] += 1
            name += f"#{names[name]}" if names[name] > 1 else ""
            try:
                if last - first < rules.min_frames:
                    raise LeaveOut("too_short", f"{last - first} frames, fewer than {rules.min_frames}")
                if piece and piece.confidence < rules.min_confidence:
                    raise LeaveOut("low_confidence", f"{piece.confidence:.2f}, less than {rules.min_confidence:g}")
                whole = (0, 0, reader.width, reader.height)
                # from centres of pixels to their edges
                box = tuple(edge + 0.5 for edge in piece.union_box_xyxy_px) if piece else whole
                view, rule = crop_around(box, (reader.width, reader.height), rules)
                cuts.append(Cut(name, first, last, stamps_end[first], stamps_end[last], view, rule, piece))
            except LeaveOut as why:
                outcome.rejects.append(Reject(video.path, first, last, why.reason, why.detail))
    return cuts, stamps


def _given_cuts(video: Video, reader: VideoReader, rules: Rules, outcome: Outcome) -> Iterator[Cut]:
    """The clips that metadata ask for, rescaled to the frame rate and the size that the file really has."""
    for given in video.given or ():
        real = reader.fps
        told = given.fps or real or Fraction(25)
        rate = real if real and abs(told / real - 1) < _SAME_RATE else told
        early = Fraction(1, 1000)  # of a frame: the file's clock may be coarse
        since, until = (given.start - early) / rate, (given.stop - early) / rate
        width, height = given.size_wh
        fy = reader.height / height
        fx = fy if width is None else reader.width / width
        box = tuple(value * factor for value, factor in zip(given.box_xyxy, (fx, fy, fx, fy), strict=True))
        frames = round((given.stop - given.start) * float((real or told) / rate))
        try:
            if frames < rules.min_frames:
                raise LeaveOut("too_short", f"{frames} frames, fewer than {rules.min_frames}")
            view, how = crop_around(box, (reader.width, reader.height), rules)
            yield Cut(given.clip_id, given.start, given.stop, since, until, view, how)
        except LeaveOut as why:
            outcome.rejects.append(Reject(video.path, given.start, given.stop, why.reason, why.detail))


def crop_around(box_xyxy: Sequence[float], frame_wh: tuple[int, int], rules: Rules) -> tuple[View, str]:
    """The crop around a box (left, top, right, bottom: edges, not centres, of pixels), and how it came about in words.

    `Track.crop` of the box, its corners rounded to whole pixels: so the manifest's box is exact.

    Raises:
        LeaveOut: the rules forbid it.
    """
    box, rule = _shown(box_xyxy, frame_wh, rules)
    view = View(box, frame_wh, rules.size)
    inside = view.inside_xyxy
    if rules.shape == "stretch" or rules.border == "clip":
        view = view._replace(box_xyxy=inside)
    if min(inside[2] - inside[0], inside[3] - inside[1]) < 2:
        raise LeaveOut("leaves_frame", "the box lies outside of the frame")
    if view.outside_share > (0 if rules.border == "drop" else OUTSIDE):
        raise LeaveOut("leaves_frame", f"{100 * view.outside_share:.0f} % of the square lie outside of the frame")
    if view.enlargement > rules.max_enlargement:
        longer = rules.size / view.enlargement
        raise LeaveOut("too_small", f"{longer:.0f} px would be enlarged {view.enlargement:.1f} times to {rules.size}")
    if inside != view.box_xyxy:
        rule += f", border repeated to fill {box[2] - box[0]} px"
    return view, rule


def _shown(box_xyxy: Sequence[float], frame_wh: tuple[int, int], rules: Rules) -> tuple[tuple[int, int, int, int], str]:
    """The box itself or the square around it, of whole frames the central one, and how it came about."""
    left, top, right, bottom = box_xyxy
    whole = (left, top, right, bottom) == (0, 0, *frame_wh)
    if rules.shape == "stretch":
        rule = "whole frame, stretched" if whole else "box, stretched to a square"
        return (round(left), round(top), round(right), round(bottom)), rule
    rule = "central square of the frame" if whole else f"square of {rules.sides:g} x the longer side of the box"
    side = min(frame_wh) if whole else max(2, round(rules.sides * max(right - left, bottom - top)))
    x, y = (round((low + high - side) / 2) for low, high in ((left, right), (top, bottom)))
    if rules.border == "inside" or whole:
        x, y = (
            min(max(corner, 0), length - side) if side <= length else (length - side) // 2
            for corner, length in zip((x, y), frame_wh, strict=True)
        )
        rule += "" if whole else ", moved inside the frame"
    elif rules.border == "clip":
        rule += ", clipped at the border and stretched"
    else:
        rule += ", dropped where it leaves the frame"
    return (x, y, x + side, y + side), rule


def _pieces(start: int, stop: int, longest: int) -> list[tuple[int, int]]:
    """Equal parts of at most `longest` frames."""
    count = -(-(stop - start) // longest)
    bounds = [start + (stop - start) * k // count for k in range(count + 1)]
    return list(zip(bounds, bounds[1:], strict=False))


class LeaveOut(Exception):
    """A clip is not made, for this reason."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


def _damages(video: Video, reader: VideoReader) -> list[Reject]:
    """The first damage that was met, if there is one."""
    said = [warning.removeprefix(f"{reader.path}: ") for warning in reader.warnings[:1]]
    return [Reject(video.path, None, None, "damaged", detail) for detail in said]
