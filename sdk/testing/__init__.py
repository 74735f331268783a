"""What pipelines are tested with: TestPipeline, assertions on pcollections, test streams and matchers.

May import everything of authoring (transforms, io and what lies below them), and no runner. To change what
`assert_that` accepts, open `util`; for how its failures read, `differences`; for the test command line's options,
`test_pipeline` and `pytest_plugin`; for the events of an unbounded test input, `test_stream`; for processing time
in tests, `clock`; for the hypothesis strategies of streams (an extra), `streams`.
"""
