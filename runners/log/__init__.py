"""LogRunner: durable streams on one machine, with results that are as if nothing had ever failed.

A coordinator (the process that runs the pipeline's program) and N workers. Each worker runs one instance of every
stage; rows go between workers through partitions of a log; from time to time all workers take a snapshot on one
consistent cut, which goes to the checkpoint store.

May import: planner, engine, processes, storage, io's two-phase sinks, the frozen specs of transforms. Imported by: cli.

To change what lies in a job's folder, open `job_folder`; how workers are started, watched and replaced,
`coordinator`, `worker_process`; what a worker does in turn, `worker`; how rows cross from worker to worker,
`exchange`, `routing`; what a snapshot holds and how it comes back, `snapshots`, `restoring`; when checkpoints begin
and end, `attempt`; when nothing is under way, `standstill`; what entries of keys are in the store, `keyed_entries`,
`key_groups`; sinks, `sinks`; what the program sees of its job, `log_result`, `signals`; what `job status` shows,
`step_status`, `rows_under_way`, `status_board`; what a job is told, `commands`.
"""
