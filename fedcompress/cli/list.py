"""`fedcompress list`."""

from __future__ import annotations

import sys

from fedcompress.cli.catalogue import KINDS_OF_ALL, Catalogue
from fedcompress.cli.discovery import ListArguments
from fedcompress.cli.prose import definitions
from fedcompress.plugins import Plugins
from fedcompress.progress import console


def command(args: ListArguments) -> None:
    """Lists the names of all kinds under their titles, or those of one, each with a line about it."""
    catalogue = Catalogue(Plugins(tuple(args.plugins)))
    if args.what is None:
        for kind in KINDS_OF_ALL:
            print("\n  ".join([kind, *catalogue.names(kind)]))
        if sys.stdout.isatty():
            print("\nWhat they are: fedcompress list KIND. All about one: fedcompress describe NAME.")
        return
    names = catalogue.names(args.what)
    if args.names:
        print("\n".join(names))
        return
    screen = console()
    abouts = {name: catalogue.about(args.what, name) for name in names}
    print(definitions(abouts, screen.width if screen.is_terminal else None))
