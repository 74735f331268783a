"""Worker processes of this machine, for the runners that have some: forked from a warm server, talked to by messages.

May import: engine. Imported by: multiprocess, log. What workers do is their runner's business.

    program's side   `fork_server`, `forked_process`
    server's side    `serving`
    in a worker      `environment`, `loaded_modules` (what it takes over from the program)
    either           `channel` (messages), `remote_errors` (exceptions as messages), `ends` (who ends with whom)
"""
