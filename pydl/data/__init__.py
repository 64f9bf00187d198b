"""What models are fed with: arrays, data sets, folders, generators."""
