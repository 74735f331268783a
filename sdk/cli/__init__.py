"""The command line `hornbeam`: one module a command, each with `add_parser(subparsers)` and `run(args)`.

May import everything; is imported by nothing. To add a command, write a module and name it in `main.COMMANDS`.
"""
