"""The URNs that a Graph uses: Beam's where Beam's Runner API has one, `hornbeam:` where it does not."""

# Transforms
IMPULSE = "beam:transform:impulse:v1"
PARDO = "beam:transform:pardo:v1"
GROUP_BY_KEY = "beam:transform:group_by_key:v1"
FLATTEN = "beam:transform:flatten:v1"
WINDOW_INTO = "beam:transform:window_into:v1"
READ = "beam:transform:read:v1"
RESHUFFLE = "beam:transform:reshuffle:v1"
TEST_STREAM = "beam:transform:teststream:v1"
COMBINE_PER_KEY = "beam:transform:combine_per_key:v1"
COMBINE_GLOBALLY = "beam:transform:combine_globally:v1"
COMBINE_GROUPED_VALUES = "beam:transform:combine_grouped_values:v1"
#: What the planner makes of a lifted COMBINE_PER_KEY; never in an author's graph.
COMBINE_PRECOMBINE = "beam:transform:combine_per_key_precombine:v1"
COMBINE_MERGE = "beam:transform:combine_per_key_merge_accumulators:v1"
COMBINE_EXTRACT = "beam:transform:combine_per_key_extract_outputs:v1"
CO_GROUP_BY_KEY = "hornbeam:transform:co_group_by_key:v1"
COMPOSITE = "hornbeam:transform:composite:v1"

# Side inputs
SIDE_INPUT_ITERABLE = "beam:side_input:iterable:v1"
SIDE_INPUT_MULTIMAP = "beam:side_input:multimap:v1"

# Window functions
GLOBAL_WINDOWS = "beam:window_fn:global_windows:v1"
FIXED_WINDOWS = "beam:window_fn:fixed_windows:v1"
SLIDING_WINDOWS = "beam:window_fn:sliding_windows:v1"
SESSION_WINDOWS = "beam:window_fn:session_windows:v1"
PYTHON_WINDOW_FN = "hornbeam:window_fn:python:v1"

# Coders
CODER_BYTES = "beam:coder:bytes:v1"
CODER_STRING_UTF8 = "beam:coder:string_utf8:v1"
CODER_BOOL = "beam:coder:bool:v1"
CODER_VARINT = "beam:coder:varint:v1"
CODER_DOUBLE = "beam:coder:double:v1"
CODER_KV = "beam:coder:kv:v1"
CODER_ITERABLE = "beam:coder:iterable:v1"
CODER_NULLABLE = "beam:coder:nullable:v1"
CODER_ROW = "beam:coder:row:v1"
CODER_INTERVAL_WINDOW = "beam:coder:interval_window:v1"
CODER_GLOBAL_WINDOW = "beam:coder:global_window:v1"
CODER_WINDOWED_VALUE = "beam:coder:windowed_value:v1"
CODER_SHARDED_KEY = "beam:coder:sharded_key:v1"
#: Any other coder of ours or of a user, as a pickled Coder object.
CODER_PYTHON = "hornbeam:coder:python:v1"
