"""The engine: the only place that knows what ParDo, GroupByKey, windows and their like do to elements.

May import: planner, graph, the specs in transforms, metrics, coders, utils. Imported by runners only. Elements travel as
Bundles (`bundle`), through Operators (`operator`) that `build` makes of a plan's stages.

To change how a function is called, open `calling`; what its results become, `outputs`; the compiled loop of plain steps,
`fused` (and `plain_results`); a DoFn's life, `dofn_operator`; when a stage's steps are set up and torn down, `lifecycle`;
window assignment, `assignment`; grouping, `grouping`, `merging`, `sessions`, with `folding`, `join_folding` and
`combine_folding` for what is kept and `emission` for what leaves; what goes to disk, `spill` and `partitioned`; side inputs,
`side_inputs`; what a failure looks like, `failures`; which step is at work, `running`.

Of streams: what a stage asks of its first step, `head`; stages and edges, `stream_build` and `stream_stage`; groupings,
`windowed_grouping` and `triggered_grouping` (with `triggered_state`, `trigger_machines`); state and timers, `stateful`
(with `keyed_records`, `state_cells`, `timers`); sources, `root_heads`, `unbounded_head` and `splittable_head`; side inputs,
`streaming_views`; what is in memory and what on disk, `working_set` and `cold_store`; why time stands still, `explain`.
"""
