// The Python face of the native kernels: checks of shape and range, no arithmetic.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

#include "choose.h"
#include "kernels.h"
#include "matrix.h"
#include "probe.h"
#include "program.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace colonnade {

namespace {

template <class Type, int kDimensions>
using Array = nb::ndarray<Type, nb::ndim<kDimensions>, nb::c_contig, nb::device::cpu>;

void require(bool good, const char* what) {
    if (!good) throw std::invalid_argument(what);
}

const Kernels& kernels_named(const std::string& name) {
    if (name == "portable") return *portable_kernels();
    require(name == "avx2" && avx2_kernels(), "kernels are portable, or avx2 where the processor has it");
    return *avx2_kernels();
}

int64_t size(const Array<const int32_t, 1>& array) { return static_cast<int64_t>(array.shape(0)); }

Table kept(const Array<const float, 2>& table) {
    return {table.data(), [table](const float*) {}};
}

std::shared_ptr<Program> make_program(const std::string& kernels, int threads, int64_t layers, int64_t heads,
                                      int64_t kv_heads, int64_t head_dim, int64_t pages, Array<const float, 2> cosines,
                                      Array<const float, 2> sines, float scale, int64_t value_dim, bool half) {
    require(head_dim % 2 == 0 && head_dim <= kMostHeadDim, "head_dim is even and at most 640");
    require(value_dim >= 0 && value_dim <= head_dim, "value_dim is at most head_dim");
    require(heads % kv_heads == 0 && threads > 0, "heads is a multiple of kv_heads; at least one thread");
    const int64_t turned = head_dim - value_dim;
    require(cosines.shape(0) == sines.shape(0) && cosines.shape(1) == sines.shape(1) &&
                static_cast<int64_t>(cosines.shape(1)) * 2 == turned,
            "cosines and sines are [positions, head_dim / 2], and without the part that is a value");
    const Geometry geometry = {
        layers, heads, kv_heads, head_dim, pages, static_cast<int64_t>(cosines.shape(0)), turned, value_dim, scale, half};
    return std::make_shared<Program>(kernels_named(kernels), threads, geometry, kept(cosines), kept(sines));
}

Storage storage_named(const std::string& name) {
    if (name == "float32") return Storage::kFloat32;
    if (name == "bfloat16") return Storage::kBfloat16;
    if (name == "float8") return Storage::kFloat8;
    require(name == "int8", "storage is float32, bfloat16, float8 or int8");
    return Storage::kInt8;
}

MatrixPtr make_matrix(int64_t rows, int64_t columns, bool bias, const std::string& storage, int64_t block, bool rounds_input) {
    require(rows > 0 && columns > 0 && block > 0, "a matrix has rows, columns and blocks");
    return std::make_shared<Matrix>(rows, columns, bias, storage_named(storage), block, rounds_input);
}

MatrixPtr keep_matrix(int64_t rows, int64_t columns, bool bias, Array<const uint8_t, 1> codes, Array<const float, 1> scales) {
    using Both = std::pair<Array<const uint8_t, 1>, Array<const float, 1>>;
    auto matrix = std::make_shared<Matrix>(rows, columns, bias, codes.data(), scales.data(), std::make_shared<Both>(codes, scales));
    require(static_cast<int64_t>(codes.shape(0)) == matrix->bytes() && static_cast<int64_t>(scales.shape(0)) == matrix->scales(),
            "codes and scales are of another shape");
    return matrix;
}

// The rows go to a place that is there, in the matrix's own type.
template <class Type>
int64_t rows_for(const Matrix& matrix, Storage storage, int64_t first, const Array<const Type, 2>& rows) {
    const int64_t count = static_cast<int64_t>(rows.shape(0));
    require(matrix.storage == storage && first >= 0 && first + count <= matrix.rows &&
                static_cast<int64_t>(rows.shape(1)) == matrix.columns,
            "the rows do not fit the matrix");
    return count;
}

void put(Matrix& matrix, int64_t first, Array<const float, 2> rows) {
    matrix.put(first, rows_for(matrix, Storage::kFloat32, first, rows), rows.data());
}

void put_briefs(Matrix& matrix, int64_t first, Array<const uint16_t, 2> rows) {
    matrix.put_briefs(first, rows_for(matrix, Storage::kBfloat16, first, rows), rows.data());
}

void put_rounded(Matrix& matrix, int64_t first, Array<const float, 2> rows) {
    const int64_t count = rows_for(matrix, Storage::kInt8, first, rows);
    nb::gil_scoped_release released;
    matrix.put_rounded(first, count, rows.data());
}

void put_blocks(Matrix& matrix, int64_t first, Array<const uint8_t, 2> rows, Array<const float, 2> scales) {
    const int64_t count = rows_for(matrix, Storage::kFloat8, first, rows), block = matrix.block;
    require(static_cast<int64_t>(scales.shape(0)) == (count + block - 1) / block &&
                static_cast<int64_t>(scales.shape(1)) == (matrix.columns + block - 1) / block,
            "one scale for each block");
    matrix.put_blocks(first, count, rows.data(), scales.data());
}

void put_bias(Matrix& matrix, int64_t first, Array<const float, 1> values) {
    const int64_t count = static_cast<int64_t>(values.shape(0));
    require(first >= 0 && first + count <= matrix.rows && matrix.view().bias, "the bias does not fit the matrix");
    matrix.put_bias(first, count, values.data());
}

// The memory of a matrix, for as long as the matrix lives.
nb::ndarray<nb::numpy, const uint8_t, nb::ndim<1>> codes_of(const Matrix& matrix) {
    return {matrix.data(), {static_cast<size_t>(matrix.bytes())}, nb::handle()};
}

nb::ndarray<nb::numpy, const float, nb::ndim<1>> scales_of(const Matrix& matrix) {
    return {matrix.scale_data(), {static_cast<size_t>(matrix.scales())}, nb::handle()};
}

int64_t choose_token(Array<const float, 1> logits, double temperature, int64_t top_k, double top_p, double min_p,
                     double number) {
    require(logits.shape(0) > 0 && temperature > 0.0, "at least one logit, and a temperature above 0");
    nb::gil_scoped_release released;
    return choose(logits.data(), static_cast<int64_t>(logits.shape(0)), {temperature, top_k, top_p, min_p}, number);
}

template <class Type>
bool as_long(const Array<const Type, 1>& array, size_t length) {
    return array.shape(0) == length;
}

// Draws for row `rows[i]` of the logits by the columns of slot `slots[i]`; the words of a grammar, of the same row, count
// where `masked[i]`.
void draw_rows(Array<const float, 2> logits, Array<const int64_t, 1> rows, Array<const int64_t, 1> slots,
               Array<const int64_t, 1> positions, Array<const uint8_t, 1> masked, Array<const uint32_t, 2> words,
               Array<const double, 1> temperatures, Array<const int64_t, 1> top_ks, Array<const double, 1> top_ps,
               Array<const double, 1> min_ps, Array<const uint64_t, 1> seeds, Array<const uint64_t, 1> choices,
               Array<int64_t, 1> out) {
    const size_t count = out.shape(0), all = temperatures.shape(0);
    const int64_t size = static_cast<int64_t>(logits.shape(1));
    require(as_long(rows, count) && as_long(slots, count) && as_long(positions, count) && as_long(masked, count),
            "one row, slot, position and mask for each draw");
    require(as_long(top_ks, all) && as_long(top_ps, all) && as_long(min_ps, all) && as_long(seeds, all) &&
                as_long(choices, all) && static_cast<int64_t>(words.shape(1)) * 32 >= size,
            "columns are as long as there are slots, and have a bit for each token");
    for (size_t i = 0; i < count; i++)
        require(rows(i) >= 0 && rows(i) < static_cast<int64_t>(logits.shape(0)) && slots(i) >= 0 &&
                    slots(i) < static_cast<int64_t>(all) &&
                    (!masked(i) || rows(i) < static_cast<int64_t>(words.shape(0))),
                "rows and slots are there");
    nb::gil_scoped_release released;
    for (size_t i = 0; i < count; i++) {
        const size_t slot = static_cast<size_t>(slots(i));
        const uint32_t* allowed = masked(i) ? words.data() + rows(i) * words.shape(1) : nullptr;
        const Filters filters = {temperatures(slot), top_ks(slot), top_ps(slot), min_ps(slot)};
        const Place place = {seeds(slot), choices(slot), static_cast<uint64_t>(positions(i))};
        out(i) = draw(logits.data() + rows(i) * size, size, allowed, filters, place);
    }
}

void record_route(Program& program, int logits, VectorPtr bias, int64_t experts, int64_t chosen, int64_t groups,
                  int64_t groups_chosen, bool sigmoid, bool paired, bool normalised, float scale, int out, bool few) {
    require(groups > 0 && experts % groups == 0 && bias->size == experts, "groups divide the experts; one bias for each");
    require(groups_chosen > 0 && groups_chosen <= groups && chosen > 0 && chosen <= groups_chosen * (experts / groups),
            "the open groups hold as many experts as are chosen");
    require(!paired || experts / groups > 1, "a group has a pair of experts");
    const Routing routing = {experts, chosen, groups, groups_chosen, sigmoid, paired, normalised, scale};
    program.route(logits, bias, routing, out, few);
}

void run(Program& program, Array<const int32_t, 1> tokens, Array<const int32_t, 1> slots,
         Array<const int32_t, 1> positions, Array<const int32_t, 2> pages, Array<const int32_t, 1> sampled,
         Array<float, 2> out) {
    require(size(tokens) == size(slots) && size(tokens) == size(positions), "tokens, slots, positions: one length");
    require(size(sampled) == static_cast<int64_t>(out.shape(0)) &&
                program.result_width() == static_cast<int64_t>(out.shape(1)),
            "out is [sampled, width of the result]");
    const Batch batch = {tokens.data(), slots.data(),   positions.data(), size(tokens), pages.data(),
                         static_cast<int64_t>(pages.shape(1)), sampled.data(), size(sampled)};
    require(program.accepts(batch, static_cast<int64_t>(pages.shape(0))), "a token, slot, position, page or row is out of range");
    nb::gil_scoped_release released;
    program.run(batch, out.data());
}

}  // namespace

NB_MODULE(_native, m) {
    m.doc() = "Native CPU kernels of colonnade.";
    m.def("has_avx2", [] { return avx2_kernels() != nullptr; }, "Whether the AVX2 kernels are built and can run here.");
    m.def("probe_bandwidth", &probe_bandwidth, "megabytes"_a, "threads"_a, "streams"_a = 4,
          nb::call_guard<nb::gil_scoped_release>(), "Bytes read a second by all threads together; the best of three.");
    m.def("probe_flops", &probe_flops, "threads"_a, nb::call_guard<nb::gil_scoped_release>(),
          "Floating-point operations a second (float32); the best of three.");

    m.def("choose", &choose_token, "logits"_a, "temperature"_a, "top_k"_a, "top_p"_a, "min_p"_a, "number"_a,
          "The token at `number` in [0, 1) of the filtered distribution.");
    m.def("draw_rows", &draw_rows, "logits"_a, "rows"_a, "slots"_a, "positions"_a, "masked"_a, "words"_a, "temperatures"_a,
          "top_ks"_a, "top_ps"_a, "min_ps"_a, "seeds"_a, "choices"_a, "out"_a,
          "A token for each row; -1 where its logits are not finite, -2 where nothing is allowed.");

    nb::class_<Matrix>(m, "Matrix")
        .def(nb::new_(&make_matrix), "rows"_a, "columns"_a, "bias"_a, "storage"_a = "float32", "block"_a = 1,
             "rounds_input"_a = false)
        .def_static("kept", &keep_matrix, "rows"_a, "columns"_a, "bias"_a, "codes"_a, "scales"_a)
        .def("put", &put, "first"_a, "rows"_a)
        .def("put_briefs", &put_briefs, "first"_a, "rows"_a)
        .def("put_rounded", &put_rounded, "first"_a, "rows"_a)
        .def("put_blocks", &put_blocks, "first"_a, "rows"_a, "scales"_a)
        .def("put_bias", &put_bias, "first"_a, "values"_a)
        .def_prop_ro("rows", [](const Matrix& it) { return it.rows; })
        .def_prop_ro("columns", [](const Matrix& it) { return it.columns; })
        .def_prop_ro("rounds_input", [](const Matrix& it) { return it.rounds_input; })
        .def_prop_ro("codes", &codes_of, nb::rv_policy::reference_internal)
        .def_prop_ro("scales", &scales_of, nb::rv_policy::reference_internal);

    nb::class_<Vector>(m, "Vector").def("__init__", [](Vector* self, Array<const float, 1> values) {
        new (self) Vector(static_cast<int64_t>(values.shape(0)), values.data());
    });

    nb::class_<Program>(m, "Program")
        .def(nb::new_(&make_program), "kernels"_a, "threads"_a, "layers"_a, "heads"_a, "kv_heads"_a, "head_dim"_a,
             "pages"_a, "cosines"_a, "sines"_a, "scale"_a = 1.0f, "value_dim"_a = 0, "half"_a = false)
        .def("buffer", &Program::buffer, "width"_a)
        .def("embed", &Program::embed, "table"_a, "out"_a)
        .def("rms_norm", &Program::rms_norm, "x"_a, "weight"_a, "epsilon"_a, "out"_a, "few"_a)
        .def("linear", &Program::linear, "x"_a, "matrix"_a, "residual"_a, "out"_a, "few"_a)
        .def("rope_store", &Program::rope_store, "qkv"_a, "layer"_a, "out"_a)
        .def("attend", &Program::attend, "q"_a, "layer"_a, "window"_a, "out"_a)
        .def("head_norm", &Program::head_norm, "qkv"_a, "queries"_a, "keys"_a, "epsilon"_a, "out"_a)
        .def("rounded", &Program::rounded, "x"_a, "out"_a, "few"_a)
        .def("swiglu", &Program::swiglu, "gate_up"_a, "out"_a, "few"_a)
        .def("sampled", &Program::sampled, "x"_a, "out"_a)
        .def("columns", &Program::columns, "x"_a, "first"_a, "out"_a, "few"_a)
        .def("route", &record_route, "logits"_a, "bias"_a, "experts"_a, "chosen"_a, "groups"_a, "groups_chosen"_a,
             "sigmoid"_a, "paired"_a, "normalised"_a, "scale"_a, "out"_a, "few"_a)
        .def("experts", &Program::experts, "x"_a, "routes"_a, "gate_ups"_a, "downs"_a, "residual"_a, "out"_a, "few"_a)
        .def("per_head", &Program::per_head, "x"_a, "matrices"_a, "out"_a, "few"_a)
        .def("latent_store", &Program::latent_store, "absorbed"_a, "q"_a, "latent"_a, "key"_a, "layer"_a, "out"_a)
        .def("forget", &Program::forget)
        .def("result", &Program::result, "x"_a)
        .def("run", &run, "tokens"_a, "slots"_a, "positions"_a, "pages"_a, "sampled"_a, "out"_a);
}

}  // namespace colonnade
