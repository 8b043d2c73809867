"""The parts of the medical documents: what a document is, how it is split, merged and scored, and samples of it."""
