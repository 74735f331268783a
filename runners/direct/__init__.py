"""DirectRunner: a graph run in this process, stage by stage.

May import: planner, engine. To change how a stage is driven, open `execution`; what is shown meanwhile, `progress`.
"""
