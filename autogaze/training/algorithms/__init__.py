"""Training algorithms: a module for each objective."""
