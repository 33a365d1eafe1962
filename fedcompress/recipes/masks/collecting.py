"""Fills an archive: trains networks, tries masks of randomised criteria on each, all retrained alike."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedcompress.data.loading import load_dataset
from fedcompress.errors import InputError, RunError
from fedcompress.masks import ranking
from fedcompress.masks.drawing import bred, kept_of
from fedcompress.masks.features import Described, chain, describe
from fedcompress.masks.proposing import restricted
from fedcompress.models import channels
from fedcompress.plugins import Plugins
from fedcompress.recipes.bench import Bench, Fitted, random_numbers
from fedcompress.recipes.loading import named_model, split
from fedcompress.recipes.masks.criteria import masked_by, mixed
from fedcompress.recipes.masks.settings import MaskRecipe, Source, Trying
from fedcompress.recipes.masks.trials import Network, Trial, Trials
from fedcompress.recipes.recipe import RecipeData
from fedcompress.wire.content import Arrays

PARENTS = 6
"""Masks, the best so far, from which others are bred."""


def bench_of(recipe: MaskRecipe, source: Source, data_dir: Path | None = None, plugins: Sequence[Path] = ()) -> Bench:
    """Returns what a network is trained and masks are judged with."""
    found = Plugins(tuple(plugins))
    dataset = load_dataset(source.data, data_dir=data_dir, plugins=found)
    settings = RecipeData(dataset=source.data, examples=recipe.data.examples, validation=recipe.data.validation)
    data = split(dataset, settings, partial(random_numbers, source.seed))
    model = partial(named_model, dataset=dataset, plugins=found)
    return Bench(model(source.model), data, source.seed, recipe.training, model=model, memory={})


def check(recipe: MaskRecipe, data_dir: Path | None = None, plugins: Sequence[Path] = ()) -> None:
    """Checks every network of a recipe before anything is trained.

    Raises:
        InputError: Data or models cannot be had, there are no validation examples, channels cannot be followed or go,
            a floor forbids a sparsity.
    """
    problems: list[str] = []
    for source in recipe.sources():
        if source.seed == recipe.seeds[0]:
            try:
                bench = bench_of(recipe, source, data_dir, plugins)
                if not len(bench.data.validation):
                    problems.append(
                        f"data.validation: received {recipe.data.validation:g}, which is none of the examples of "
                        f"{source.data}; masks are judged by validation examples: use 0.2, say."
                    )
                spec = bench.spec
                layers = chain(spec)[:-1]
                if whole := [layer.name for number, layer in enumerate(layers) if ranking.stays(spec, number)]:
                    raise InputError(
                        f"model {spec.name!r}: channels of layer {whole[0]!r} all stay, since a frozen layer reads "
                        "them; masks are tried on networks any channel of which may go."
                    )
                widths = tuple(layer.channels for layer in layers)
                kept_of(widths, max(recipe.trying.sparsities), recipe.trying.floor)
            except InputError as error:
                problems += [p if source.model in p else f"model {source.model!r}: {p}" for p in error.problems]
    if problems:
        raise InputError(dict.fromkeys(problems))


def collect(
    recipe: MaskRecipe,
    path: Path,
    *,
    workers: int = 1,
    data_dir: Path | None = None,
    plugins: Sequence[Path] = (),
    progress: Callable[[int, int, Network | None], None] = lambda done, total, network: None,
) -> Trials:
    """Adds what is missing of a recipe to an archive, and returns it. Each network is there as soon as it is done.

    Args:
        recipe: Which networks and masks.
        path: Of the archive; made if absent.
        workers: Networks at the same time, each in a process of its own if there are several.
        data_dir: Where data sets are looked for first.
        plugins: Folders of plug-ins.
        progress: Is told how many networks are done of how many, and the last one.

    Raises:
        InputError: The recipe, see `check`; the archive is none, or has masks that were tried by other settings.
        RunError: A training diverged; names the network.
    """
    check(recipe, data_dir, plugins)
    archive = Trials(path, recipe.budget)
    wanted = recipe.sources()
    if other := [n for n in archive.networks if n.source in wanted and n.tried != recipe.tried]:
        raise InputError(
            f"{path}: masks of {other[0].source}, were tried by another [trying] than the recipe has, or before "
            "archives said by which; name a new archive with --out, or remove this one."
        )
    missing = [source for source in wanted if source not in archive.sources]
    progress(len(wanted) - len(missing), len(wanted), None)
    make = partial(tried, recipe, data_dir=data_dir, plugins=tuple(plugins))
    for number, network in enumerate(_each(make, missing, workers), len(wanted) - len(missing) + 1):
        archive.add(network)
        progress(number, len(wanted), network)
    return archive


def _each(make: Callable[[Source], Network], sources: Sequence[Source], workers: int) -> Iterator[Network]:
    """Yields networks in their order with one worker, else as they are done."""
    if workers == 1 or len(sources) < 2:
        yield from map(make, sources)
        return
    context = multiprocessing.get_context("spawn")  # TensorFlow survives no fork
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        left = {pool.submit(make, source) for source in sources}
        try:
            while left:
                done: set[Future[Network]]
                done, left = wait(left, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        finally:
            for future in left:
                future.cancel()


def tried(recipe: MaskRecipe, source: Source, data_dir: Path | None = None, plugins: Sequence[Path] = ()) -> Network:
    """Trains one network and tries its masks.

    Raises:
        RunError: A training diverged.
    """
    try:
        return _tried(recipe, source, bench_of(recipe, source, data_dir, plugins))
    except FloatingPointError as error:
        raise RunError(f"{source}: {error}") from error


def _tried(recipe: MaskRecipe, source: Source, bench: Bench) -> Network:
    weights = bench.dense()
    described = describe(bench.spec, weights, bench.data.train.x, bench.data.train.y)
    trials = [
        trial
        for sparsity in recipe.trying.sparsities
        for trial in tried_at(sparsity, bench, weights, described, recipe.trying)
    ]
    layers = tuple(layer.name for layer in bench.spec.channels[:-1])
    chance = 1.0 / bench.spec.classes
    return Network(source, layers, described, bench.validate(weights), chance, tuple(trials), recipe.tried)


def tried_at(sparsity: float, bench: Bench, weights: Arrays, described: Described, trying: Trying) -> list[Trial]:
    """Tries the masks of one sparsity: of each criterion, then mixed ones, then those that are bred from the best."""
    kept = kept_of(described.widths, sparsity, trying.floor)
    found: dict[bytes, Trial] = {}

    def attempt(criterion: str, mask: NDArray[np.bool_]) -> None:
        if mask.tobytes() not in found:
            found[mask.tobytes()] = retrained(bench, weights, described, mask, criterion, sparsity, trying)

    own = {
        criterion: masked_by(criterion, bench.spec, weights, described, sparsity, trying, bench.rng("own"), 0.0)
        for criterion in ("lamp", "equal")
    }
    for criterion in trying.criteria:
        for draw in range(trying.draws):
            rng = bench.rng(f"mask {criterion} {sparsity:g}", draw)
            strength = draw / max(trying.draws - 1, 1)
            attempt(criterion, masked_by(criterion, bench.spec, weights, described, sparsity, trying, rng, strength))
    for draw in range(trying.mixed):
        rng = bench.rng(f"mask mixed {sparsity:g}", draw)
        attempt("mixed", mixed(described, list(own.values()), kept, trying.floor, rng))
    for draw in range(trying.bred):
        best = sorted(found.values(), key=lambda trial: -trial.accuracy)[:PARENTS]
        rng = bench.rng(f"mask bred {sparsity:g}", draw)
        attempt("bred", bred([trial.mask for trial in best], described, kept, trying.floor, rng))
    return list(found.values())


def retrained(
    bench: Bench,
    weights: Arrays,
    described: Described,
    mask: NDArray[np.bool_],
    criterion: str,
    sparsity: float,
    trying: Trying,
) -> Trial:
    """Retrains a network under a mask; the examples come in the same order for each."""
    before = bench.validate(restricted(bench.spec, weights, described.kept(mask)))
    fitted = fitted_under(mask, bench, weights, described, trying)
    return Trial(criterion, sparsity, mask, before, fitted.validation)


def fitted_under(
    mask: NDArray[np.bool_], bench: Bench, weights: Arrays, described: Described, trying: Trying
) -> Fitted:
    """Returns what the retraining of a network under a mask comes to."""
    kept = described.kept(mask)
    return bench.train(
        restricted(bench.spec, weights, kept),
        masks=channels.masks_of(bench.spec, kept),
        phase="retraining",
        epochs=trying.epochs,
        learning_rate=trying.learning_rate,
    )
