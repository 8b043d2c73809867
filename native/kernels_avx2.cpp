// The kernels for AVX2 with FMA. Built with those instructions on: nothing here may run before cpu_has_avx2 was asked,
// and no inline function of the standard library may be used, since the linker could keep this file's copy for all.
#include "kernels.h"

#if defined(__AVX2__) && defined(__FMA__)

#include "attention.inl"
#include "lanes_avx2.h"
#include "linear.inl"
#include "probe.inl"
#include "rounded.inl"
#include "rows.inl"

namespace colonnade {

const Kernels* avx2_kernels() {
    using L = Avx2Lanes;
    static constexpr Kernels kernels = {"avx2", linear<L>, linear_rounded<L>, round_row<L>, attend<L>, rms_norm<L>, swiglu<L>, rope<L>, halve<L>};
    return cpu_has_avx2() ? &kernels : nullptr;
}

const Probes* avx2_probes() {
    static constexpr Probes probes = {probe_read<Avx2Lanes>, probe_compute<Avx2Lanes>};
    return cpu_has_avx2() ? &probes : nullptr;
}

}  // namespace colonnade

#else

namespace colonnade {

const Kernels* avx2_kernels() { return nullptr; }
const Probes* avx2_probes() { return nullptr; }

}  // namespace colonnade

#endif
