"""Storage of data and jobs: buckets, tables, queues, the file system, default hyperparameters."""
