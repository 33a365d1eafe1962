"""pupil: a client with a second action and contents of its own."""

from collections.abc import Mapping

from clients.sgd import SGD
from fedcompress.client import Result, action
from fedcompress.models.architecture import ModelSpec
from fedcompress.wire.content import ArraySpec, Content, Payload


class Pupil(SGD):
    """Trains, then is examined on questions that the server drew, with the model that it has just trained."""

    @action
    def train(self, payload: Payload, round_number: int) -> Result:
        result = super().train(payload, round_number)
        self.state["mine"] = list(result.payload["weights"])
        return result

    @action
    def examine(self, payload: Payload, round_number: int) -> Result:
        """Answers questions with logits."""
        (questions,) = payload["questions"]
        logits = self.trainer.predict(self.state["mine"], questions)
        return Result({"logits": [logits]}, {"draw": self.rng("draw").random()})

    @classmethod
    def contents(cls, model: ModelSpec) -> Mapping[str, Content]:
        questions = Content((ArraySpec((None, *model.input_shape), "uint8", limit=100),), lossless=True)
        logits = Content((ArraySpec((None, model.classes), limit=100),))
        return {**model.contents, "questions": questions, "logits": logits}
