"""What all studies share: `study` runs one from its flags to its figure, `flags` spells what several are told."""

from studies.shared.falling import falling_strength
from studies.shared.filler import IN_ANSWERS, IN_CAPTIONS, has_filler
from studies.shared.flags import StudyFlags
from studies.shared.judging import log_probabilities
from studies.shared.lines import Key, Line, grouped, kept, pivot, table_of
from studies.shared.study import Measured, Study

__all__ = [
    "IN_ANSWERS",
    "IN_CAPTIONS",
    "Key",
    "Line",
    "Measured",
    "Study",
    "StudyFlags",
    "falling_strength",
    "grouped",
    "has_filler",
    "kept",
    "log_probabilities",
    "pivot",
    "table_of",
]
