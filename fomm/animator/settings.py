"""How to animate, in one value that the animator, the renderer, the page and the scripts share. Imports no torch."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from fomm.errors import InputError

Precision: TypeAlias = Literal["auto", "fp32", "bf16", "fp16"]
Region: TypeAlias = Literal["all", "pose", "expression", "mouth", "eyes"]
PARTS: dict[str, tuple[str, ...]] = {
    "all": ("pose", "mouth", "eyes"),
    "pose": ("pose",),
    "expression": ("mouth", "eyes"),
    "mouth": ("mouth",),
    "eyes": ("eyes",),
}
"""The parts of each region, which move by themselves: the head, the lower face and the upper face."""
STRONGEST = 2.0


def strengths_of(region: Region, strength: str) -> dict[str, float]:
    """How much of the driving motion each part follows, of `--region` and `--strength`.

    >>> strengths_of("expression", "mouth=1.2")
    {'pose': 0.0, 'mouth': 1.2, 'eyes': 1.0}

    Raises:
        InputError: a strength that is no number from 0 to 2, of no region, of one that does not move, or given twice.
    """
    moves, given = PARTS[region], dict[str, float]()
    if not strength.strip():
        raise InputError(f"--strength is empty, must be a number from 0 to {STRONGEST:g}, as in --strength 0.8")
    for item in re.split(r"[,\s]+", strength.strip()):
        name, number = item.split("=", 1) if "=" in item else (region, item)
        parts = PARTS.get(name)
        if parts is None:
            raise InputError(f"--strength {strength}: {name!r} is no region; choose from {', '.join(PARTS)}")
        if not re.fullmatch(r"\d{1,3}(\.\d{0,9})?|\.\d{1,9}", number, re.ASCII) or float(number) > STRONGEST:
            raise InputError(f"--strength {strength}: {number!r} must be a number from 0 to {STRONGEST:g}")
        if not set(parts) <= set(moves):
            raise InputError(
                f"--strength {strength}: {name} does not move with --region {region}; leave one of them out"
            )
        if name in given:
            raise InputError(f"--strength {strength}: {name} has two numbers; give it one")
        given[name] = float(number)
    strengths = {part: float(part in moves) for part in PARTS["all"]}
    for name in sorted(given, key=lambda name: -len(PARTS[name])):  # mouth is said more exactly than all
        strengths |= dict.fromkeys(PARTS[name], given[name])
    return strengths


@dataclass(frozen=True)
class AnimationSettings:
    """How to animate a photo with a driving video.

    Args:
        relative: apply the driving's change of pose to the photo; otherwise its pose and shape are copied.
        adapt_scale: scale the motion by how much larger the photo's face is than the driving's.
        best_frame: start from the driving frame most like the photo, not from the first. Default: as crop.
        best_frame_by: whose landmarks find that frame.
        crop: find the faces and crop both sides alike; otherwise both are taken whole, resized to the model's size.
        embed: put the animated face back into the full photo. Default: as crop.
        detail: model gives pictures of the model's own size (256x256), enlarged where the photo is larger; source moves
            the photo's own pixels where they show what is needed. Model face always does.
        side_by_side: also write <output>_side_by_side: photo, driving and result.
        audio: take the sound along.
        sound: whose sound, where the source is a video, too.
        video_stream: which picture of a driving file that holds several, from 1. The choices are listed; by default it
            is made as players make it.
        audio_stream: the same for its sound.
        label: write a visible mark into the result.
        sign: cert.pem,key.pem: your certificate for content credentials (C2PA), which mp4, mov, jpg and png carry. By
            default one that is made once on this machine; it proves that a file was not altered, not whose it is.
        face: which face of the photo, from 1 (the largest). The choices are listed if there are several.
        track: which face of the driving video, from 1 (the one seen longest).
        region: what moves: the head (pose), the face (expression: mouth and eyes), the lower face (mouth), the upper
            face with gaze and brows (eyes), or all. Models of the paper only know all.
        strength: how much of the motion, from 0 (none) to 2 (twice as much): one number, or several as in
            pose=0.5,mouth=1.2.
        scale: side of the crop, in sizes of the driving face over the whole video. Default: what the model was trained
            on as far as its file says (provenance, crop_scale), else 1.2, that of the released models.
    """

    relative: bool = True
    adapt_scale: bool = True
    best_frame: bool | None = None
    best_frame_by: Literal["mediapipe", "face_alignment"] = "mediapipe"
    crop: bool = True
    embed: bool | None = None
    detail: Literal["model", "source"] = "model"
    side_by_side: bool = False
    audio: bool = True
    sound: Literal["driving", "source"] = "driving"
    video_stream: int | None = None
    audio_stream: int | None = None
    label: bool = False
    sign: str | None = None
    face: int | None = None
    track: int = 1
    region: Region = "all"
    strength: str = "1"
    scale: float | None = None

    def check(self) -> None:
        """Raises InputError for values that no file can make right."""
        _ = self.strengths
        if self.embed and not self.crop:
            raise InputError("--embed true needs --crop true: only a crop has a place in the photo to go back to")
        if self.scale is not None and not 0.5 <= self.scale <= 10:
            raise InputError(f"--scale is {self.scale}, must be from 0.5 to 10 face sizes; 1.2 is what the models know")

    @property
    def strengths(self) -> dict[str, float]:
        """How much of the motion each part (pose, mouth, eyes) follows; raises InputError as `strengths_of`."""
        return strengths_of(self.region, self.strength)

    def decided(self, scale: float) -> AnimationSettings:
        """The same with nothing left open: `best_frame` and `embed` are as `crop`, and `scale` is the model's own."""
        best_frame = self.crop if self.best_frame is None else self.best_frame
        embed = self.crop if self.embed is None else self.embed
        return replace(self, best_frame=best_frame, embed=embed, scale=self.scale or scale)


@dataclass(frozen=True)
class ModelSettings:
    """Which model, and what it runs on.

    Args:
        checkpoint: a known name (face and puppets come with the package; vox-adv, taichi, ... are fetched), or a file.
        device: auto, cpu, cuda, cuda:1 or mps.
        precision: fp32 is exact; bf16 is faster and changes little (docs/speed.md); fp16 is for GPUs. auto takes bf16
            on a processor that multiplies it in hardware, else fp32 (on CUDA with TF32).
        batch_size: frames at once. Default: 16 on CUDA, 4 on MPS, 1 on a CPU.
    """

    checkpoint: str = "face"
    device: str = "auto"
    precision: Precision = "auto"
    batch_size: int | None = None
