"""Manifests: what is written is read back, faults are told together, equal clips give equal bytes."""

from __future__ import annotations

import os
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from pictures import ROOT

from fomm.errors import InputError
from fomm.manifest import (
    COLUMNS,
    Clip,
    Pair,
    read_manifest,
    read_pairs,
    select,
    split_overlap,
    write_manifest,
    write_pairs,
)
from fomm.video import read_image
from preprocess.synthetic.puppets import write_puppet_pairs

CLIP = Clip(
    "id1#a#000001#000200", "clips/a", "id1", "train", 200, Fraction(30000, 1001), 256, 256,
    source_video="a.mp4", crop_box="10-20-266-276", crop_rule="union x 1.2, square", confidence=0.75, sha256="ab",
)  # fmt: skip


def test_what_is_written_is_read_back(tmp_path):
    clips = [CLIP, replace(CLIP, clip_id='b, "quoted"', split="val", identity="ü", fps=Fraction(25))]
    write_manifest(tmp_path / "m.csv", clips)
    assert read_manifest(tmp_path / "m.csv") == clips
    assert [c.split for c in select(clips, "val")] == ["val"]


def test_equal_clips_give_equal_bytes(tmp_path):
    write_manifest(tmp_path / "a.csv", [CLIP])
    write_manifest(tmp_path / "b.csv", [CLIP])
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    assert b"\r" not in (tmp_path / "a.csv").read_bytes()


def test_a_name_that_is_no_text_is_told(tmp_path):
    path = tmp_path / "manifest.csv"
    write_manifest(path, [CLIP])
    before = path.read_bytes()
    with pytest.raises(InputError, match=r"manifest\.csv: cannot hold .*b\\udcff\.mp4.* not UTF-8; rename"):
        write_manifest(path, [CLIP, replace(CLIP, clip_id="b", path=os.fsdecode(b"b\xff.mp4"))])
    assert path.read_bytes() == before


def test_columns_that_have_defaults_may_be_absent(tmp_path):
    path = tmp_path / "m.csv"
    path.write_text("clip_id,path,identity,split,frames,fps,width,height\na,clips/a,x,test,10,25,64,64\n")
    (clip,) = read_manifest(path)
    assert (clip.fps, clip.confidence, clip.crop_box) == (25, 1.0, "")


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("split", "validation", "split 'validation' is not one of train, val, test"),
        ("frames", "0", "frames '0' must be greater than 0"),
        ("frames", "many", "frames 'many' is not a number"),
        ("fps", "1/0", "fps '1/0' is not a number"),
        ("path", "../a", "must stay inside"),
        ("path", "/a", "must stay inside"),
        ("path", "9" * 300, "is no name that a file can have"),
        ("identity", "", "no value for identity"),
        ("confidence", "1.5", "not in [0, 1]"),
        ("crop_box", "1-2-3", "not left-top-right-bottom"),
    ],
)
def test_a_faulty_value_is_named_with_its_line(tmp_path, column, value, said):
    write_manifest(tmp_path / "m.csv", [CLIP])
    header, row = (tmp_path / "m.csv").read_text().splitlines()
    values = dict(zip(COLUMNS, row.replace('"union x 1.2, square"', "rule").split(","), strict=True)) | {column: value}
    (tmp_path / "m.csv").write_text(f"{header}\n{','.join(values.values())}\n")
    with pytest.raises(InputError) as error:
        read_manifest(tmp_path / "m.csv")
    assert said in str(error.value) and "line 2" in str(error.value)


def test_faults_are_gathered(tmp_path):
    write_manifest(tmp_path / "m.csv", [CLIP, CLIP, replace(CLIP, clip_id="c", frames=-1)])
    with pytest.raises(InputError, match=r"line 3: clip_id .* was used on line 2; line 4: frames '-1'"):
        read_manifest(tmp_path / "m.csv")


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "\x00\x01", 'clip_id,"pa'])
def test_something_else_than_a_manifest(tmp_path, text):
    (tmp_path / "m.csv").write_text(text)
    with pytest.raises(InputError, match="m.csv"):
        read_manifest(tmp_path / "m.csv")
    with pytest.raises(InputError, match="no such manifest"):
        read_manifest(tmp_path / "other.csv")


def clips_called(*names):
    return [replace(CLIP, clip_id=name) for name in names]


def test_pairs_that_are_written_are_read_back(tmp_path):
    pairs = [Pair("a", "b"), Pair("b", 'c, "x"', "a")]
    write_pairs(tmp_path / "p.csv", pairs)
    assert read_pairs(tmp_path / "p.csv", clips_called("a", "b", 'c, "x"')) == pairs
    assert (tmp_path / "p.csv").read_text().splitlines()[:2] == ["source,driving,truth", "a,b,"]
    (tmp_path / "p.csv").write_text("source,driving\na,b\n")
    assert read_pairs(tmp_path / "p.csv", clips_called("a", "b")) == [Pair("a", "b")]


def test_faulty_pairs_are_told_together_or_left_out(tmp_path):
    (tmp_path / "p.csv").write_text("source,driving,truth\na,b,\nx,b,y\na,b,\n,b,\nb,a,a\n")
    with pytest.raises(InputError, match="line 3: no clip is called source 'x', truth 'y'; line 4: .* on line 2; line"):
        read_pairs(tmp_path / "p.csv", clips_called("a", "b"))
    told = []
    pairs = read_pairs(tmp_path / "p.csv", clips_called("a", "b"), on_fault=told.append)
    assert pairs == [Pair("a", "b"), Pair("b", "a", "a")]
    assert len(told) == 3 and all("left out" in line for line in told)
    with pytest.raises(InputError, match="no such list of pairs.*source,driving,truth"):
        read_pairs(tmp_path / "q.csv", [])
    (tmp_path / "p.csv").write_text("source,target\n")
    with pytest.raises(InputError, match=r"missing columns \['driving'\], unknown columns \['target'\]"):
        read_pairs(tmp_path / "p.csv", [])


def test_faulty_rows_can_be_left_out(tmp_path):
    write_manifest(tmp_path / "m.csv", [CLIP, CLIP, replace(CLIP, clip_id="b", frames=-1), replace(CLIP, clip_id="c")])
    told = []
    clips = read_manifest(tmp_path / "m.csv", on_fault=told.append)
    assert [clip.clip_id for clip in clips] == [CLIP.clip_id, "c"]
    assert ["line 3" in told[0], "line 4" in told[1], len(told)] == [True, True, 2]


def test_identities_in_two_splits_are_found():
    rows = [("x", "train"), ("x", "test"), ("y", "test"), ("z", "train"), ("z", "val"), ("x", "test")]
    clips = [replace(CLIP, clip_id=str(i), identity=who, split=split) for i, (who, split) in enumerate(rows)]
    assert split_overlap(clips) == ["x"]
    assert split_overlap(clips, "val") == ["z"]
    assert split_overlap(clips, "train") == []


# Mean colour of the first frames of source, driving and truth.
FIRST_FRAMES = [[187.88, 168.20, 148.97], [130.05, 111.54, 114.34], [187.88, 168.20, 148.97]]


def test_the_fixed_puppet_list_is_what_its_command_draws(tmp_path):
    """The first pair of data_manifests/puppets-test, drawn again: the same people, motion and pixels."""
    listed = ROOT / "data_manifests" / "puppets-test"
    rows = read_manifest(listed / "manifest.csv")
    pairs = read_pairs(listed / "pairs.csv", rows)
    assert (len(rows), len(pairs), split_overlap(rows)) == (36, 12, [])
    command = dict(identities=900, pairs=1, frames=16, fps=6, size=256, seed=1, val=0.03, test=0.03)
    drawn = write_puppet_pairs(tmp_path / "drawn", **command).with_name("manifest.csv")
    again = read_manifest(drawn)
    assert [replace(clip, sha256="") for clip in again] == [replace(clip, sha256="") for clip in rows[:3]]
    assert read_pairs(drawn.with_name("pairs.csv"), again) == pairs[:1]
    means = [read_image(drawn.parent / clip.path / "000000.png").mean((0, 1)) for clip in again]
    np.testing.assert_allclose(means, FIRST_FRAMES, atol=0.05, err_msg="the painter paints something else")
    if [clip.sha256 for clip in again] != [clip.sha256 for clip in rows[:3]]:
        pytest.skip("this processor rounds the drawings differently; the pictures are the same but for that")
