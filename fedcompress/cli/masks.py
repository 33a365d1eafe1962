"""`fedcompress masks`: collect, train, propose, show."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from fedcompress.cli.arguments import (
    MasksCollectArguments,
    MasksProposeArguments,
    MasksShowArguments,
    MasksTrainArguments,
)
from fedcompress.cli.output import show as show_result
from fedcompress.data.loading import load_dataset
from fedcompress.errors import InputError, RunError
from fedcompress.files import check_output, write_text
from fedcompress.fitted_table import FittedTable
from fedcompress.masks import ranking
from fedcompress.masks.features import describe
from fedcompress.masks.proposer import NOISE, read_proposer
from fedcompress.masks.proposing import cached_file, located, proposed
from fedcompress.models import channels
from fedcompress.models.channels import Kept
from fedcompress.plugins import Plugins
from fedcompress.progress import ProgressLine
from fedcompress.recipes.loading import named_model
from fedcompress.recipes.masks import pictures
from fedcompress.recipes.masks.adversarial import Point, learn
from fedcompress.recipes.masks.collecting import collect as fill
from fedcompress.recipes.masks.settings import Learning, MaskRecipe
from fedcompress.recipes.masks.trials import Network, Trials
from fedcompress.scenario.gallery import named, shipped
from fedcompress.scenario.messages import validated
from fedcompress.scenario.overrides import overridden, parse_assignment


def collect(args: MasksCollectArguments) -> None:
    """Fills an archive, or goes on with it."""
    recipe = MaskRecipe.load(named(args.recipe, "masks"), dict(map(parse_assignment, args.set_)))
    path = args.out or Path(f"{recipe.name}.trials")
    check_output(path, "--out")
    archive = _filled(recipe, path, args.workers, args.data_dir, tuple(args.plugins))
    show_result({}, _archive_table(path, archive.networks), as_json=False)
    print(f"archive: {path}", file=sys.stderr)


def _filled(
    recipe: MaskRecipe, path: Path, workers: int, data_dir: Path | None, plugins: tuple[Path, ...] = ()
) -> Trials:
    with ProgressLine(recipe.name, "networks") as display:

        def progress(done: int, total: int, network: Network | None) -> None:
            if network is None:
                display.begin(total, done, ["training"])
                return
            best = max(trial.accuracy for trial in network.trials)
            said = f"{network.source}: {len(network.trials)} masks, best {best:.3f}"
            display.update(done, [said])
            display.note(f"{done}/{total} {said}")

        return fill(recipe, path, workers=workers, data_dir=data_dir, plugins=plugins, progress=progress)


def _archive_table(path: Path, networks: list[Network]) -> FittedTable:
    title = f"{path.name}: {len(networks)} networks, {sum(len(n.trials) for n in networks):,} masks"
    caption = f"{pictures.why_stuck(networks)} Accuracies are on validation examples, after retraining."
    return FittedTable(title, pictures.COLUMNS, pictures.rows(networks), caption)


def train(args: MasksTrainArguments) -> None:
    """Trains a proposer on an archive, or on that of a recipe that ships."""
    name = str(args.archive)
    settings = Learning()
    path, out = args.archive, args.out or args.archive.with_suffix(".npz")
    if is_shipped := name in {file.stem for file in shipped("masks")} and not args.archive.exists():
        if args.out is None and (args.set_ or args.seed != MasksTrainArguments.seed):
            raise InputError(
                f"--set and --seed make another proposer than {name!r} names; say where it goes with --out."
            )
        recipe = MaskRecipe.load(named(args.archive, "masks"))
        settings = recipe.proposer
        out = args.out or cached_file(name)
        path = cached_file(name).with_suffix(".trials")
    settings = validated(Learning, overridden(settings.model_dump(mode="json"), dict(map(parse_assignment, args.set_))))
    check_output(out, "--out")
    archive = _filled(recipe, path, args.workers, args.data_dir) if is_shipped else Trials(path)
    with ProgressLine("proposer", "steps") as display:
        display.begin(settings.steps)

        def progress(point: Point) -> None:
            display.update(
                point.step, [f"held out: correlation {point.correlation:.2f}", f"draws {point.foretold:.2f}"]
            )

        try:
            made, curve = learn(archive.networks, settings, np.random.default_rng(args.seed), progress)
        except FloatingPointError as error:
            raise RunError(str(error)) from error
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(made.written())
    read_proposer(out)
    if args.page:
        write_text(args.page, pictures.learning_page(out.name, curve))
    print(
        f"proposer: {out} ({out.stat().st_size / 1000:.0f} kB), learned from {len(made.about['learned'])} networks; on "
        f"{len(made.about['held_out'])} held out, foretold and measured accuracy correlate by "
        f"{curve[-1].correlation:.2f}",
        file=sys.stderr,
    )


def show(args: MasksShowArguments) -> None:
    """Shows an archive."""
    archive = Trials(args.archive)
    if not archive.networks:
        raise InputError(f"{args.archive}: has no networks yet; go on with: fedcompress masks collect.")
    rows = [dict(zip(pictures.COLUMNS, row, strict=True)) for row in pictures.rows(archive.networks)]
    show_result({"rows": rows}, _archive_table(args.archive, archive.networks), as_json=args.json)
    if args.out:
        check_output(args.out, "--out")
        write_text(args.out, pictures.archive_page(args.archive.name, archive.networks))


def propose(args: MasksProposeArguments) -> None:
    """Draws masks for a trained network."""
    if wrong := [s for s in args.sparsity if not 0 < s < 1]:
        raise InputError(f"--sparsity: received {wrong[0]:g}, expected a fraction in (0, 1).")
    if args.cut and args.out is None:
        raise InputError("--cut: needs --out DIR, where the models go.")
    if args.cut and args.floor == 0:
        raise InputError("--cut: a layer without channels cannot be cut out; use --floor 1.")
    proposer = located(args.proposer)
    dataset = load_dataset(args.data, data_dir=args.data_dir, plugins=Plugins(tuple(args.plugins)))
    spec = named_model(str(args.model), dataset, Plugins(tuple(args.plugins)))
    if (weights := spec.trained) is None:
        raise InputError(f"--model {args.model}: expected a trained model, a file that ends in .keras or .h5.")
    for sparsity in args.sparsity:
        ranking.check_sparsity(spec, sparsity, args.floor, "channels")
    described = describe(spec, weights, dataset.x_train, dataset.y_train)
    rng = np.random.default_rng(args.seed)
    drawn = [
        (s, proposed(proposer, spec, described, s, rng, count="channels", floor=args.floor))
        for s in args.sparsity
        for _ in range(args.count)
    ]
    layers = [layer.name for layer in spec.channels[:-1]]
    texts = [".".join("".join("01"[int(bit)] for bit in layer) for layer in kept) for _, kept in drawn]
    table = [
        {"sparsity": s, "weights": ranking.reached(spec, kept, "weights"), "mask": text, "kept": _kept(layers, kept)}
        for (s, kept), text in zip(drawn, texts, strict=True)
    ]
    rows = [
        (str(n), f"{row[0]:g}", f"{ranking.reached(spec, row[1], 'weights'):.3f}", *(str(int(k.sum())) for k in row[1]))
        for n, row in enumerate(drawn, 1)
    ]
    columns = (
        "mask",
        "channels gone",
        "weights gone",
        *(f"{name} of {w}" for name, w in zip(layers, described.widths, strict=True)),
    )
    caption = "Channels that each layer keeps. The masks are not retrained."
    show_result(
        {"masks": table}, FittedTable(f"{args.model.name}: proposals", columns, rows, caption), as_json=args.json
    )
    if args.out:
        zeros = np.zeros((len(layers), NOISE))
        staying = ranking.staying(spec)
        likely = {
            s: np.where(staying, 1.0, proposer.probabilities(described, s, zeros)) for s in dict.fromkeys(args.sparsity)
        }
        write_text(args.out / "masks.txt", "".join(f"{s:g} {t}\n" for (s, _), t in zip(drawn, texts, strict=True)))
        write_text(args.out / "proposals.html", pictures.proposal_page(args.model.name, layers, described, likely))
        for number, (_, kept) in enumerate(drawn, 1) if args.cut else ():
            small = channels.narrowed(spec, [int(k.sum()) for k in kept]).build()
            small.set_weights(channels.sliced(spec, weights, kept))
            small.save(args.out / f"mask-{number}.keras")
        print(f"results: {args.out}", file=sys.stderr)


def _kept(layers: list[str], kept: Kept) -> dict[str, int]:
    return {name: int(k.sum()) for name, k in zip(layers, kept, strict=True)}
