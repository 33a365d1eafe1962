"""What a classifier learns from the samples of generators that are private by construction.

python -m benchmarks.private_generators embedding --seed 1 --seed 2 --seed 3
python -m benchmarks.private_generators dp-gan --seed 1 --seed 2 --seed 3
python -m benchmarks.private_generators dp-gan --clients 10 --seed 1 --seed 2 --seed 3 --out runs/dp-gan-by-clients
python -m benchmarks.private_generators page
"""

from __future__ import annotations

import typer

from benchmarks.private_embedding import embedding
from benchmarks.private_gan import dp_gan
from benchmarks.private_page import page

app = typer.Typer(pretty_exceptions_enable=False, no_args_is_help=True)


@app.callback()
def generators() -> None:
    """Scores of private generators."""


for command in (embedding, dp_gan, page):
    app.command()(command)

if __name__ == "__main__":
    app()
