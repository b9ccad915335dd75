"""Model `face`, in the paper's terms: keypoints are the landmarks of a face mesh, the local motions follow from them,
dense motion is computed, and an occlusion-aware generator paints what the warp cannot show.

    mesh       the landmarks; a face's pose and shape
    motion     landmarks of source, driving and initial frame -> the source's landmarks moved
    align      landmarks set right by what the frames show
    steady     landmarks filtered in time
    canvas     pictures to draw into
    surface    moved landmarks -> dense motion, by depth
    layers     background, person, eyeballs, the inside of the mouth
    generator  what the warp cannot show
    portrait   all layers together, at the photo's own resolution
"""

from fomm.model.face.align import Aligned
from fomm.model.face.model import FaceConfig, FaceModel, Sitter
from fomm.model.face.motion import Face, Moved, move
from fomm.model.face.portrait import Portrait
from fomm.model.face.steady import Steady

__all__ = ["Aligned", "Face", "FaceConfig", "FaceModel", "Moved", "Portrait", "Sitter", "Steady", "move"]
