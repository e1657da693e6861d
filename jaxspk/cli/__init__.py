"""The ``jaxspk`` command: one file a group of subcommands; they parse and call, and compute nothing.

Nothing heavy is imported before the subcommand is known, so that ``jaxspk --help`` answers at once.
"""

import importlib
import os
import sys
from collections.abc import Sequence

# name: (module with a class of options and a function `run`, one line for the overview)
COMMANDS = {
    "separate": ("_separate", "separate the voices of recordings, one file per voice"),
    "samples": ("_samples", "write the recordings that come with the package to a folder"),
    "corpus": ("_corpus", "say what a folder of speech holds, and what is wrong with it"),
    "train": ("_train", "train a system on your own folder of speech"),
    "verify": ("_verify", "say whether two recordings are of one speaker, and how sure that is"),
    "who": ("_who", "say who of the people you enrolled speaks, or that it is nobody of them"),
    "enroll": ("_enroll", "remember somebody's voice under a name, on this machine only"),
    "people": ("_people", "list the people enrolled, or forget some for good"),
    "cluster": ("_cluster", "say who speaks when: turns of recordings, by speaker"),
    "changes": ("_changes", "mark where the speaker changes"),
    "embed": ("_embed", "turn recordings into vectors that say who speaks"),
    "score": ("_score", "score a list of trials, or a folder of speech against itself"),
    "metrics": ("_metrics", "measure scored trials: equal error rate, detection costs"),
    "calibrate": ("_calibrate", "learn what scores mean from trials of your own"),
    "export": ("_export", "write a speaker encoder as one file that runs without this package"),
    "models": ("_models", "list and verify model directories"),
    "launch": ("_launch", "run a training in one process or many, and restart it from its last save"),
    "gradcheck": ("_gradcheck", "verify every hand-derived gradient against independent witnesses"),
}

_OVERVIEW = """\
usage: jaxspk COMMAND [-h] ...

Telling voices apart: separation, verification and clustering of speakers.

commands:
{commands}

`jaxspk COMMAND --help` explains a command with an example. Recordings never leave this machine.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command line; returns its exit status: 0 done, 1 some files failed, 2 nothing could be done."""
    name, *rest = [*(sys.argv[1:] if arguments is None else arguments), ""][:-1] or ["--help"]
    if name in ("-h", "--help"):
        commands = "\n".join(f"  {name:<10} {line}" for name, (_, line) in COMMANDS.items())
        print(_OVERVIEW.format(commands=commands))
        return 0
    if name == "--version":
        from jaxspk import __version__

        print(f"jaxspk {__version__}")
        return 0
    if name not in COMMANDS:
        return _fail(f"no command {name!r}; there are: {', '.join(COMMANDS)}.")
    return _run(name, rest)


def _run(name: str, arguments: Sequence[str]) -> int:
    from jaxspk.errors import JaxspkError

    # Not ours to tell a person who separates a file.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        import tyro

        module = importlib.import_module(f"jaxspk.cli.{COMMANDS[name][0]}")
        options = tyro.cli(module.Options, prog=f"jaxspk {name}", args=list(arguments))
        status: int = module.run(options)
        sys.stdout.flush()
        return status
    except JaxspkError as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        print("jaxspk: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output went away, as `| head` does. Python must not complain again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 2


def _fail(message: str) -> int:
    print(f"jaxspk: error: {' '.join(message.split())}", file=sys.stderr)
    return 2
