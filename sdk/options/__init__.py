"""Pipeline options: typed views over one shared set of command-line flags and keyword values.

May import: `hornbeam.error`, `hornbeam.utils`, `hornbeam.display`. To change how flags are parsed, shared and listed, open
`view`; a flag, the file of its class (`standard_options`, `direct_options`, `cloud_options`); values that are
known only at run time, `value_provider`. `pipeline_options` is the module path that users know.
"""
