"""Who collects the data of a meta-iteration and differentiates on it: in this process, or in Ray actors.

A worker owns a share of the tasks and keeps their data; what an outer update asks is asked of all workers and added up.
"""
