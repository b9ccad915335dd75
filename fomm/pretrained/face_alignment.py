"""Landmark detectors that are neural networks of others and fetch their weights when first used."""

from __future__ import annotations

import contextlib
import inspect
import io
import warnings
from pathlib import Path

import numpy as np
import torch

from fomm.errors import InputError, MissingWeightsError, first_line


class FaceAlignmentLandmarks:
    """The 68 landmarks of face-alignment (Bulat & Tzimiropoulos 2017), with which the original chooses a best frame.

    Call: picture (H, W, 3) uint8 RGB -> (68, 2) float32 in pixels, of the first face; None where it finds none.

    Args:
        device: where its networks run.
        flip_input: also look at the mirrored picture and average (the original's best frame does, its metrics do not).

    Raises:
        InputError: face-alignment is not installed, or its weights are damaged.
        MissingWeightsError: its weights are not here and cannot be fetched.
    """

    def __init__(self, device: torch.device | str = "cpu", *, flip_input: bool = True) -> None:
        try:
            import face_alignment
        except ImportError as error:
            raise InputError(f"face-alignment cannot be loaded ({error}); run: pip install face-alignment") from error
        options = {"device": str(device), "flip_input": flip_input}
        if "compile" in inspect.signature(face_alignment.FaceAlignment).parameters:
            options["compile"] = False  # takes longer than it saves
        folder = Path(torch.hub.get_dir()) / "checkpoints"
        try:
            with contextlib.redirect_stderr(io.StringIO()):  # the download's bars
                self._network = face_alignment.FaceAlignment(face_alignment.LandmarksType.TWO_D, **options)
        except Exception as error:  # no network, or whatever loading a damaged file raises
            from face_alignment.api import models_urls
            from face_alignment.detection.sfd.sfd_detector import models_urls as detector_urls

            files = (detector_urls["s3fd"], models_urls["2DFAN-4"])
            where = " and ".join(files)
            reason = first_line(error)
            if all((folder / url.rsplit("/", 1)[-1]).is_file() for url in files):
                raise InputError(
                    f"{folder}: face-alignment's weights are damaged or of another version ({reason}); "
                    f"remove {' and '.join(url.rsplit('/', 1)[-1] for url in files)} there and get {where} again"
                ) from error
            raise MissingWeightsError(
                f"face-alignment's weights are not on this machine and could not be fetched ({reason}); "
                f"download {where} and put both files into {folder}, or use mediapipe"
            ) from error

    def __call__(self, image: np.ndarray) -> np.ndarray | None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "No faces were detected."
            faces = self._network.get_landmarks_from_image(image)
        return np.asarray(faces[0], np.float32) if faces else None
