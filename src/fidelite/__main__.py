"""`python -m fidelite`."""

from fidelite.cli import main

if __name__ == "__main__":
    main()
