"""MultiProcessRunner: a graph run on many processes of this machine, with the engine of DirectRunner.

May import: planner, engine, processes. The coordinator runs in the program's process; workers are forked from a
fork server. Why it is as it is: docs/decisions/0006-multiprocess-runner.md.

    a run        `multiprocess_runner`, `graph_run`
    coordinator  `coordinator` (messages, dead and idle workers), `seat` (one worker), `task_book` (stages cut into
                 tasks), `scaling`, `progress`, `run_folder`
    processes    `workers` (where they come from), `worker`, `job` (what a worker knows), `task` (messages)
    a task       `at_work` (a stage's operators), `feed` (its elements, which can be given away), `careful`, `hot_keys`
    exchange     `outputs` (what a task gives), `partition` (by key), `columns`, `blocks` (files), `sorted_groups`
    what is said `forwarding`
    plan         `created` (Create as a source, exchange before state by key)
"""
