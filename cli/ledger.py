"""`sekisho ledger`: checks the ledger beside its database."""

import typer

ledger = typer.Typer(no_args_is_help=True, help="Check the ledger.")
