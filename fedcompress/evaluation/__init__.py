"""Scores of a round: of the global models, of what devices run, of clients' own models, and after local training."""

from fedcompress.evaluation.evaluator import Evaluator
from fedcompress.evaluation.scores import GroupScores, Scores

__all__ = ["Evaluator", "GroupScores", "Scores"]
