"""The engine: the only place that knows what ParDo, GroupByKey, windows and their like do to elements.

May import: planner, graph, the specs in transforms, metrics, coders, utils. Imported by runners only. Elements travel as
Bundles (`bundle`), through Operators (`operator`) that `build` makes of a plan's stages.

To change how a function is called, open `calling`; what its results become, `outputs`; the compiled loop of plain steps,
`fused` (and `plain_results`); a DoFn's life, `dofn_operator`; when a stage's steps are set up and torn down, `lifecycle`;
window assignment, `assignment`; grouping, `grouping`, `merging`, `sessions`, with `folding` for what is kept and `emission`
for what leaves; what goes to disk, `spill` and `partitioned`; side inputs, `side_inputs`; what a failure looks like,
`failures`; which step is at work, `running`.
"""
