"""How it is measured: plan, worker process, clocks, journal, statistics, comparison, command line."""
