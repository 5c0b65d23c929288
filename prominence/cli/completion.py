"""``prominence completion``: what a shell needs to complete verbs and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print what makes a shell complete verbs and options.

    \b
    Example:
      eval "$(prominence completion bash)"      in ~/.bashrc
      prominence completion fish > ~/.config/fish/completions/prominence.fish
    """
    made = get_completion_class(shell)
    if made is None:
        raise click.UsageError(f"there is no completion for {shell}", context)
    root = context.find_root()
    click.echo(made(root.command, {}, "prominence", "_PROMINENCE_COMPLETE").source())
