"""`python -m fedcompress.cli`."""

from fedcompress.cli.app import main

main()
