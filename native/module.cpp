// The Python face of the native kernels: one binding a kernel, no logic.
#include <nanobind/nanobind.h>

namespace nb = nanobind;

NB_MODULE(_native, m) { m.doc() = "Native CPU kernels of colonnade."; }
