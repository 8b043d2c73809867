"""The parts of the phone call: what decides (`turns`, `grammar`, `clauses`), what hears, speaks, asks and books."""
