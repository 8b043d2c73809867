"""One model on one device group: schedule, cache, models, kernels, sampling."""
