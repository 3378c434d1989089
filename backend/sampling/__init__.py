"""From logits to text: penalties, seeded draws, incremental decoding, stop conditions."""

from sestina.backend.sampling.detokenizer import Detokenizer
from sestina.backend.sampling.penalties import check_ids, forbidden_ids
from sestina.backend.sampling.sampler import Sampled, SampleRow, sample
from sestina.backend.sampling.stop import StopAutomaton, StopChecker, StopStep

__all__ = [
    "Detokenizer",
    "SampleRow",
    "Sampled",
    "StopAutomaton",
    "StopChecker",
    "StopStep",
    "check_ids",
    "forbidden_ids",
    "sample",
]
