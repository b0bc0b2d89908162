"""``python -m promptbot``: the same as the ``promptbot`` command."""

from promptbot.cli.main import main

if __name__ == "__main__":
    main()
