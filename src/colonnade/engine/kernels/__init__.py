"""The stages of a forward pass: native C++ on the CPU, plain torch as the reference and everywhere else."""
