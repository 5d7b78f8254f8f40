"""What is asked: problems with their role and their sampling, from splits, files, data sets and benchmarks by name."""
