// Entry points of plain C types, handed to Python as addresses: for callers that hold no GIL and
// know no C++. Python describes them in seqsgd.ffi.
#include "ffi.hpp"

#include "bind.hpp"
#include "seqsgd/random/normal.hpp"
#include "simulation_arrays.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

namespace {

constexpr std::int64_t in_use = -1, failed = -2, bad_argument = -3;

// Nothing is thrown at C.
template <class F>
std::int64_t of(void* simulator, F f) noexcept {
  if (!simulator) return bad_argument;
  try {
    return f(*static_cast<Steppable*>(simulator));
  } catch (const InUse&) {
    return in_use;
  } catch (...) {  // of the user's own link or activation, or no memory
    return failed;
  }
}

template <class T>
std::int64_t normals_of(std::uint64_t seed, std::uint32_t stream, std::uint32_t run,
                        std::uint64_t block, std::int64_t n, T* out) noexcept {
  if (n < 0 || (n > 0 && !out) || stream > 255 || block >> 56) return bad_argument;
  Xoshiro16 g(Address{seed, Stream(stream), run, block});
  const Index whole = n / draw_size * draw_size;
  fill_normal(g, out, whole);
  if (whole < n) {
    T rest[draw_size];
    fill_normal(g, rest, draw_size);
    std::copy_n(rest, n - whole, out + whole);
  }
  return n;
}

extern "C" {

static std::int64_t seqsgd_advance(void* simulator, std::int64_t n) {
  return of(simulator, [&](Steppable& s) {
    return n < 0 || n > (std::int64_t(1) << 52) ? bad_argument : s.advance_by(n);
  });
}
static std::int64_t seqsgd_observe(void* simulator, const void* X, const double* y, std::int64_t n,
                                   double* losses) {
  return of(simulator, [&](Steppable& s) {
    return n < 0 || (n > 0 && (!X || !losses)) ? bad_argument : s.feed(X, y, n, losses);
  });
}
static std::int64_t seqsgd_step(void* simulator) {
  return of(simulator, [](Steppable& s) { return s.step_now(); });
}
static std::int64_t seqsgd_order_parameters(void* simulator, double* m, double* q, double* e,
                                            double* loss) {
  return of(simulator, [&](Steppable& s) { return s.measure(m, q, e, loss), 0; });
}
static std::int64_t seqsgd_weights(void* simulator, double* w) {
  return of(simulator,
            [&](Steppable& s) { return w ? (s.put_weights(w), std::int64_t(0)) : bad_argument; });
}
static std::int64_t seqsgd_sizes(void* simulator, std::int64_t* out) {
  return of(simulator,
            [&](Steppable& s) { return out ? (s.sizes(out), std::int64_t(0)) : bad_argument; });
}
static std::int64_t seqsgd_normals_float32(std::uint64_t seed, std::uint32_t stream,
                                           std::uint32_t run, std::uint64_t block, std::int64_t n,
                                           float* out) {
  return normals_of(seed, stream, run, block, n, out);
}
static std::int64_t seqsgd_normals_float64(std::uint64_t seed, std::uint32_t stream,
                                           std::uint32_t run, std::uint64_t block, std::int64_t n,
                                           double* out) {
  return normals_of(seed, stream, run, block, n, out);
}

}  // extern "C"

template <class F>
std::uintptr_t address_of(F* f) {
  return reinterpret_cast<std::uintptr_t>(f);
}

}  // namespace

void bind_ffi(py::module_& m) {
  m.def("entry_points", [] {
    py::dict out;
    out["advance"] = address_of(&seqsgd_advance);
    out["observe"] = address_of(&seqsgd_observe);
    out["step"] = address_of(&seqsgd_step);
    out["order_parameters"] = address_of(&seqsgd_order_parameters);
    out["weights"] = address_of(&seqsgd_weights);
    out["sizes"] = address_of(&seqsgd_sizes);
    out["normals_float32"] = address_of(&seqsgd_normals_float32);
    out["normals_float64"] = address_of(&seqsgd_normals_float64);
    return out;
  });
}

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
