"""`python -m stage`."""

from stage.cli import main

if __name__ == "__main__":
    main()
