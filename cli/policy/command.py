"""`sekisho policy` and its commands."""

import typer

from cli.policy.bundle import bundle
from cli.policy.check import check
from cli.policy.diff import diff
from cli.policy.expected import compare
from cli.policy.explain import explain_
from cli.policy.table import table

policy = typer.Typer(no_args_is_help=True, help="Show, explain, check and compare who may call what; needs no mesh.")
policy.command()(table)
policy.command(name="explain")(explain_)
policy.command()(check)
policy.command()(diff)
policy.command(name="test")(compare)
policy.command()(bundle)
