"""What survives a crash: the partitioned log (`log`) and the checkpoint store (`checkpoint`).

Storage stands alone: it imports nothing else of hornbeam. Everything that touches the disk goes through a
`Files` object (`files`), so that the tests can put a simulated disk there.

To change how bytes reach the disk, open `files`; what is raised, `errors`; locks between processes, `locks`;
armed failures for tests and kill campaigns, `faults`.
"""
