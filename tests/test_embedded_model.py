"""The model that comes with the package does what its card promises, on puppets that it has never seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.puppets import clips_by_id, cross_identity, reconstruction
from fomm.animator import Animator
from fomm.checkpoint import LoadedModel, load_model
from fomm.known import WEIGHTS_FOLDER
from fomm.manifest import read_manifest, read_pairs
from fomm.video import VideoReader, read_image
from infer import Options, infer
from preprocess.synthetic.puppets import write_puppet_pairs

ASSETS = WEIGHTS_FOLDER.parent / "assets"


@pytest.fixture(scope="module")
def embedded() -> LoadedModel:
    return load_model("puppets")


def test_it_is_small_and_says_what_it_is(embedded: LoadedModel) -> None:
    info = embedded.info
    assert info.path.stat().st_size <= 12e6
    assert (info.name, info.category, info.format) == ("puppets", "face", "weights")
    assert {"commands", "commit", "scores", "crop_scale"} <= info.provenance.keys()


def test_scores_on_held_out_puppets(embedded: LoadedModel, tmp_path: Path) -> None:
    """Against repeating the source: reconstruction at most 0.35, cross-identity 0.5, landmarks 0.4."""
    folder = tmp_path / "pairs"
    size = embedded.info.image_size
    # The test identities of the first training set; the card says how the training data was drawn.
    write_puppet_pairs(folder, identities=900, pairs=5, frames=7, fps=6, size=size, seed=1, val=0.03, test=0.03)
    pairs = read_pairs(folder / "pairs.csv", read_manifest(folder / "manifest.csv"))
    animator, clips = Animator(embedded.model, precision="fp32"), clips_by_id(folder)
    scores = reconstruction(animator, size, [clips[pair.driving] for pair in pairs])
    scores |= cross_identity(animator, size, clips, pairs, None)
    ratios = {name: model / repeated for name, (model, repeated) in scores.items()}
    assert ratios["reconstruction L1"] <= 0.35, ratios
    assert ratios["cross-identity L1"] <= 0.5, ratios
    assert ratios["cross-identity landmarks px"] <= 0.4, ratios


def test_the_demonstration(tmp_path: Path) -> None:
    """The bundled portrait follows the bundled speaker, in the photo, with the sound."""
    output = tmp_path / "result.mp4"
    infer(Options(str(ASSETS / "portrait.png"), str(ASSETS / "speaker.mp4"), str(output), checkpoint="puppets"))
    portrait, result, driving = (
        read_image(ASSETS / "portrait.png"),
        VideoReader(output),
        VideoReader(ASSETS / "speaker.mp4"),
    )
    assert (result.width, result.height, result.fps) == (960, 720, driving.fps)
    assert result.has_audio
    frames = [frame.image for frame in result]
    assert len(frames) == sum(1 for _ in driving) == 100
    changed = np.mean([np.abs(frame.astype(int) - portrait) > 25 for frame in frames], axis=(0, 3))
    assert changed[:, :250].max() == 0, "the landscape stays"
    assert changed[150:450, 420:800].mean() > 0.05, "the head moves"
