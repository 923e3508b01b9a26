"""The configurations, one file per data set; installed as `bitdiff.configs`."""
