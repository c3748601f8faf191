"""What the programs have in common."""

import sys
from collections.abc import Callable, Sequence

from absl import app, flags

from tfrnnx.errors import TfrnnxError


def start(program: Callable[[], None], doc: str, define_flags: Callable[[], None]) -> None:
    """Define a program's flags, parse the command line and run the program.

    A mistake of the user's is one line on standard error and exit code 1, an interruption exit
    code 130; anything else keeps its traceback.

    Args:
        program: what to do once the flags are parsed.
        doc: what `--help` says above the flags.
        define_flags: defines the program's flags.
    """
    known = set(flags.FLAGS)
    define_flags()
    for name in sorted(set(flags.FLAGS) - known):
        # `--help` shows the key flags of the script that was started, which may be a wrapper.
        flags.FLAGS.register_key_flag_for_module(sys.argv[0], flags.FLAGS[name])
    sys.modules["__main__"].__doc__ = doc

    def main(argv: Sequence[str]) -> int:
        try:
            if len(argv) > 1:
                raise flags.Error(f"Expected flags only. Received: {' '.join(argv[1:])}")
            program()
        except (TfrnnxError, flags.Error) as error:
            print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("interrupted; the same command goes on from here", file=sys.stderr)
            return 130
        return 0

    app.run(main)
