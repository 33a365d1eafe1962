"""The recipe of a generator: what each step of the chain does. Every key is documented where it is declared."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from fedcompress.generators.networks import Networks
from fedcompress.results.run.directory import as_json
from fedcompress.scenario.document import Document
from fedcompress.scenario.sections import Fraction, Name, Positive, Section

StepName = Literal["teacher", "dataset", "student", "compress", "private"]
STEPS: tuple[StepName, ...] = ("teacher", "dataset", "student", "compress", "private")
_KINDS_RATE = "a private teacher has the learning rates of its kind; leave it out"
_NOT_PRIVATE = {
    "guide": "the classifier sees examples without noise; leave it out",
    "generator_rate": _KINDS_RATE,
    "discriminator_rate": _KINDS_RATE,
}
"""Keys of a teacher that learns from the examples as they are -> why a private one does not have them."""


class GeneratorData(Section):
    """`[data]`: the images that the generator learns."""

    dataset: str = Field("mnist-5k", description="name of a data set of images, npz:FILE, or hf:NAME")
    classes: tuple[int, ...] | None = Field(None, strict=False, description="keep only these labels, as in [6, 9]")
    examples: Positive | None = Field(None, description="training examples that are used, drawn with their label mix")
    validation: Fraction = Field(0.1, description="fraction of the training examples that settings are chosen by")


class TeacherSettings(Section):
    """`[teacher]`: a conditional GAN, trained as large as it is."""

    gan: Literal["cgan", "compact", "private"] = Field(
        "cgan", description="its kind; a student of cgan starts as its copy"
    )
    epochs: Positive = Field(30, description="passes over the training examples")
    batch_size: Positive = Field(128, description="examples in a step")
    generator_rate: float | None = Field(None, gt=0.0, description="learning rate of the generator; its kind's")
    discriminator_rate: float | None = Field(None, gt=0.0, description="that of the discriminator; its kind's")
    guide: float = Field(
        0.0,
        ge=0.0,
        description="weight of a classifier's cross-entropy in the generator's loss (Odena et al. 2017); it is a "
        "small-cnn that learns from up to 10,000 training examples before",
    )

    def rates(self, networks: Networks) -> tuple[float, float]:
        """Returns the learning rates of generator and discriminator."""
        return (self.generator_rate or networks.generator_rate, self.discriminator_rate or networks.discriminator_rate)


class DatasetSettings(Section):
    """`[dataset]`: what the student learns from: noise and labels, and the teacher's images of them."""

    pairs: Positive = Field(200_000, description="samples; stored as seeds of z and labels, not as images")


class StudentSettings(Section):
    """`[student]`: GAN Slimming (Wang et al. 2020), with the paper's settings but for the learning rates of Adam."""

    epochs: Positive = Field(20, description="passes over the pairs")
    batch_size: Positive = Field(128, description="pairs in a step")
    bits: int = Field(8, ge=2, le=32, description="of a kernel's value and of an activation; 32 is float")
    rho: float = Field(0.01, ge=0.0, description="weight of the sizes of the channels' scales: how many are turned off")
    beta: float = Field(20.0, ge=0.0, description="weight of the distance to the teacher's images")
    distance: Literal["l1", "l2"] = Field("l1", description="of pixels: mean absolute or squared difference")
    gamma_rate: float = Field(
        0.1, gt=0.0, description="learning rate of the scales; all rates fall along half a cosine"
    )
    generator_rate: float = Field(2e-4, gt=0.0, description="learning rate of the generator's other weights")
    discriminator_rate: float = Field(3e-4, gt=0.0, description="learning rate of the discriminator")


class CompressSettings(Section):
    """`[compress]`: channels that are off leave; the generator is written as files for devices."""

    epochs: int = Field(
        0,
        ge=0,
        description="passes over the pairs by which the small generator is fine-tuned afterwards, by the student's "
        "loss without rho, as in GAN Slimming's code; 0: it keeps the student's images",
    )

    tflite: bool = Field(True, description="convert generators to TFLite, as float and as int8, and time them")


class PrivateSettings(Section):
    """`[private]`: the small generator is trained further against a discriminator that learns by DP-SGD."""

    private_from: Literal["step", "start"] = Field(
        "step",
        description="step: this step alone is private, as published, and the chain has no epsilon; start: the "
        "teacher's discriminator learns by DP-SGD as well, and epsilon is that of the whole chain",
    )
    epochs: Positive = Field(20, description="expected passes over the training examples")
    batch_size: Positive = Field(128, description="expected examples in a step (Poisson sampling)")
    discriminator_steps: Positive = Field(50, description="steps of the discriminator for each of the generator")
    adaptive: bool = Field(False, description="raise discriminator_steps where the discriminator falls behind")
    epsilon: float = Field(10.0, gt=0.0, description="budget of all private steps together, at delta")
    delta: float = Field(1e-5, gt=0.0, lt=1.0, description="probability with which epsilon may not hold")
    clip: float = Field(1.0, gt=0.0, description="largest Euclidean norm of an example's gradient")
    noise: Literal["seed", "system"] = Field(
        "seed",
        description="where noise comes from: the seed, so that runs repeat and who knows it can undo it, or the "
        "operating system",
    )


class FigureSettings(Section):
    """`[figures]`: what is measured of each step's generator."""

    samples: int = Field(10_000, ge=2, description="that a classifier learns from, and whose features are compared")
    on: Literal["test", "validation"] = Field("test", description="examples that the classifier is tested on")


class GeneratorRecipe(Document):
    """A chain of steps from images to a small generator; `GeneratorRecipe.load` reads it from a file."""

    name: Name = Field(min_length=1, pattern=r"^[\w. -]+$", description="letters, digits, space, . - and _")
    seed: int = Field(1, ge=0, description="of everything that is random")
    data: GeneratorData = Field(default_factory=GeneratorData)
    teacher: TeacherSettings = Field(default_factory=TeacherSettings)
    dataset: DatasetSettings = Field(default_factory=DatasetSettings)
    student: StudentSettings = Field(default_factory=StudentSettings)
    compress: CompressSettings = Field(default_factory=CompressSettings)
    private: PrivateSettings = Field(default_factory=PrivateSettings)
    figures: FigureSettings = Field(default_factory=FigureSettings)

    @model_validator(mode="after")
    def _scored_on_something(self) -> Self:
        if self.figures.on == "validation" and not self.data.validation:
            raise ValueError('figures.on: received "validation", but data.validation is 0; raise it, or use "test"')
        return self

    @model_validator(mode="after")
    def _nothing_beside_the_noise(self) -> Self:
        for key, why in _NOT_PRIVATE.items():
            if self.whole and (value := getattr(self.teacher, key)):
                raise ValueError(f'teacher.{key}: received {value:g} with private.private_from = "start", but {why}')
        return self

    @property
    def digest(self) -> str:
        """SHA-256 of everything that decides the results."""
        return sha256(self.toml().encode()).hexdigest()

    @property
    def whole(self) -> bool:
        """Whether the chain is private from the teacher's first look at the data on."""
        return self.private.private_from == "start"

    def decides(self, step: StepName) -> Mapping[str, Any]:
        """Returns the keys that decide what a step makes of what those before it have made."""
        table = self.table()
        decided: dict[str, Any] = {step: table[step]}
        if step == "compress":
            decided = {"epochs": self.compress.epochs} if self.compress.epochs else {}  # the rest is files more or less
        if step == "teacher":
            decided |= {"seed": self.seed, "data": table["data"]}
            decided |= {"private": table["private"]} if self.whole else {}
        return decided

    def keys(self, data_digest: str) -> dict[StepName, str]:
        """Returns step -> digest of everything that decides what it leaves, the steps before it included."""
        keys: dict[StepName, str] = {}
        key = data_digest
        for step in STEPS:
            keys[step] = key = sha256(f"{key} {step} {as_json(self.decides(step))}".encode()).hexdigest()
        return keys
