"""Small values and helpers that everything else may use; imports nothing of ours but `hornbeam.error`.

To change event-time arithmetic open `timestamp`; windowed elements and panes, `windowed_value`; the stable
hash of encoded keys, `stable_hash`; objects shared by the threads of a process, `shared`; deprecation marks,
`annotations`; functions given as source text, `python_callable`; repeated attempts, `retry`; keys split over
shards, `sharded_key`.
"""
