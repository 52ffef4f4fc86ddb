"""The benchmark: plan, worker process, meters, journal, statistics, comparison, command line."""
