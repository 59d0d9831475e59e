"""``python -m onefill``: the same as the command ``onefill``."""

from onefill.cli.app import main

if __name__ == "__main__":
    main()
