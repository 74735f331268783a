"""LogRunner: durable streams on one machine, with results that are as if nothing had ever failed.

A coordinator (the process that runs the pipeline's program) and N workers. Each worker runs one instance of every
stage; rows go between workers through partitions of a log; from time to time all workers take a snapshot on one
consistent cut, which goes to the checkpoint store. How a checkpoint lives, and what must hold, is told in
docs/job-protocol.md.

May import: planner, engine, processes, storage, io's two-phase sinks, the frozen specs of transforms. Imported by: cli.

    to change                                                   open
    options and checks of a start                               log_runner, job_settings, update_check, kept_state
    what lies in a job's folder                                 job_folder, job_record, job_status, states
    attempt after attempt, and what ends a job                  coordinator, restarts, failures, damage, environment
    one attempt: its workers, when checkpoints begin and end    attempt, worker_process, messages, hangs
    all workers standing still, or asked what holds time back   standstill, explaining
    what a job is told while it runs                            commands, log_result, signals
    what a worker does in turn                                  worker, whereabouts, room
    what a worker says                                          worker_output
    the stages of a worker and the edges between them           task, plans, edges, routing, key_groups, first_splits, poison
    how rows cross from worker to worker                        exchange, rows_under_way
    when a snapshot is cut, markers                             cuts, copies
    what a snapshot holds                                       snapshots, state_names, keyed_entries, last_checkpoint
    how it comes back                                           restoring
    state for other workers, or for a changed pipeline          origin, moving
    sinks: prepared in workers, committed by the coordinator    sinks, committing, commit_note
    what `job status` and Prometheus show                       step_status, status_board, prometheus
    a job again in a debugger                                   replay
"""
