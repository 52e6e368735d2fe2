"""Commands that look at profiles: the limits, duties and quality checks of a standard, and every mistake of a file."""

from pathlib import Path
from typing import Annotated

import typer

profile_app = typer.Typer(
    help="Standards as data: the limits, duties and clauses by which pools are judged.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)


@profile_app.command("check")
def profile_check(file: Annotated[Path, typer.Argument(help="A profile, one TOML file.")]) -> None:
    """Explain every mistake of a profile with its line, or say what is in it; exits with 1 if there is a mistake."""
    from analytics.errors import ProfileError
    from analytics.standards.profile import read_profile
    from poolwatch.profile_words import summary_lines

    try:
        profile = read_profile(file)
    except ProfileError as error:
        typer.echo(str(error), err=True)
        mistakes = len(str(error).splitlines())
        if mistakes > 1:
            typer.echo(f"{mistakes} mistakes", err=True)
        raise typer.Exit(1) from error
    for line in summary_lines(profile):
        typer.echo(line)
    typer.echo(f"{file}: no mistake")


@profile_app.command("list")
def profile_list() -> None:
    """Name the profiles that come with poolwatch, each with its title."""
    from analytics.standards.profile import known_profiles, load_profile

    names = known_profiles()
    width = max(len(name) for name in names)
    for name in names:
        profile = load_profile(name)
        typer.echo(
            f"{name:<{width}}  {profile.title_en}; {len(profile.limits)} limits, {len(profile.duties)} duties"
        )


@profile_app.command("show")
def profile_show(
    name: Annotated[str, typer.Argument(help="Name of a profile, or the path of a .toml file.")],
) -> None:
    """Print the limits by quantity, the duties and the quality checks of a profile, with editions and sources."""
    from analytics.errors import ProfileError
    from analytics.standards.profile import load_profile
    from poolwatch.profile_words import summary_lines

    try:
        profile = load_profile(name)
    except ProfileError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    for line in summary_lines(profile):
        typer.echo(line)
