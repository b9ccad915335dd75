"""Model `face`, in the paper's terms: keypoints are the landmarks of a face mesh, the local motions follow from them,
dense motion is computed, and an occlusion-aware generator paints what the warp cannot show.

    mesh       the landmarks; a face's pose and shape
    motion     landmarks of source, driving and initial frame -> the source's landmarks moved
    direct     as much of a motion as is asked for, part by part
    edit       motion by names instead of a driving face
    recording  a motion as a file, without the face that made it
    align      landmarks set right by what the frames show
    follow     a driving face, frame after frame
    steady     landmarks filtered in time
    canvas     pictures to draw into
    raster     triangles drawn in one go
    surface    moved landmarks -> dense motion, by depth
    drawn_eyes lids of eyes that are drawn larger than a person's
    chin       the skin below the lip, which the mesh loses in open mouths
    hidden     the side of a face that the photo hides
    layers     background, person, eyeballs, the inside of the mouth
    mouth      what the photo shows of a mouth's inside
    paint      colours of what is painted there
    skin       bare skin where the photo shows too little
    generator  what the warp cannot show
    portrait   all layers together, at the photo's own resolution
"""

from typing import TYPE_CHECKING

from fomm.lazy import lazily

if TYPE_CHECKING:
    from fomm.model.face.align import Aligned
    from fomm.model.face.direct import Strength
    from fomm.model.face.edit import Edit
    from fomm.model.face.model import FaceConfig, FaceModel, Sitter
    from fomm.model.face.motion import Face, Moved, move
    from fomm.model.face.portrait import Portrait
    from fomm.model.face.recording import Recording
    from fomm.model.face.steady import Steady

__all__ = [
    "Aligned",
    "Edit",
    "Face",
    "FaceConfig",
    "FaceModel",
    "Moved",
    "Portrait",
    "Recording",
    "Sitter",
    "Steady",
    "Strength",
    "move",
]

__getattr__ = lazily(
    __name__,
    {
        "align": ("Aligned",),
        "direct": ("Strength",),
        "edit": ("Edit",),
        "model": ("FaceConfig", "FaceModel", "Sitter"),
        "motion": ("Face", "Moved", "move"),
        "portrait": ("Portrait",),
        "recording": ("Recording",),
        "steady": ("Steady",),
    },
)
