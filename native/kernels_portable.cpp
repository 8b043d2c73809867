// The kernels in plain C++, for any processor.
#include "attention.inl"
#include "lanes_portable.h"
#include "linear.inl"
#include "probe.inl"
#include "rounded.inl"
#include "rows.inl"

namespace colonnade {

const Kernels* portable_kernels() {
    using L = PortableLanes;
    static const Kernels kernels = {"portable", linear<L>, linear_rounded<L>, round_row<L>, attend<L>, rms_norm<L>, swiglu<L>, rope<L>, halve<L>};
    return &kernels;
}

const Probes* portable_probes() {
    static const Probes probes = {probe_read<PortableLanes>, probe_compute<PortableLanes>};
    return &probes;
}

}  // namespace colonnade
