// Streams, exposed so that their laws can be tested.
#include <pybind11/stl.h>

#include "arrays.hpp"
#include "bind.hpp"
#include "seqsgd/random/token_laws.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

namespace {

template <class T>
py::array normals(const Address& at, Index n, Index times) {
  py::array_t<T> out = array_of<T>({padded(n)});
  {
    T* p = out.mutable_data();
    py::gil_scoped_release free;
    Xoshiro16 g(at);
    for (Index i = 0; i < times; ++i) fill_normal(g, p, padded(n));
  }
  return out[py::slice(0, n, 1)];
}

template <class T>
py::array tokens(const TokenSettings& law, const Address& at, Index L, Index d, Index n) {
  py::array_t<T> out = array_of<T>({n, L, d});
  std::vector<T> X(std::size_t(L * row_stride<T>(d)));
  Xoshiro16 g(at);
  const T scale = T(1 / std::sqrt(double(d)));
  T* p = out.mutable_data();
  for (Index i = 0; i < n; ++i) {
    fill_tokens(law, g, L, d, X.data(), row_stride<T>(d));
    for (Index l = 0; l < L; ++l)
      for (Index j = 0; j < d; ++j) *p++ = X[std::size_t(l * row_stride<T>(d) + j)] * scale;
  }
  return out;
}

}  // namespace

void bind_random(py::module_& m) {
  m.def("philox", &philox, py::arg("counter"), py::arg("key"));
  m.def(
      "normals",
      [](std::uint64_t seed, std::uint32_t stream, std::uint32_t run, std::uint64_t block, Index n,
         const std::string& dtype, Index times) {
        if (times < 1)
          throw py::value_error("times: expected at least 1, got " + std::to_string(times));
        const Address at{seed, Stream(stream), run, block};
        return dtype == "float32" ? normals<float>(at, n, times) : normals<double>(at, n, times);
      },
      py::arg("seed"), py::arg("stream"), py::arg("run"), py::arg("block"), py::arg("n"),
      py::arg("dtype") = "float32", py::arg("times") = 1);  // the last n of `times` as many
  m.def("token_law_names", &token_law_names);
  m.def(
      "tokens",
      [](const std::string& law, double nu, const py::array& covariance, Index L, Index d,
         std::uint64_t seed, std::uint32_t run, std::uint64_t block, Index n,
         const std::string& dtype) {
        TokenSettings s{token_law_named(law), nu, {}};
        if (s.law == TokenLaw::correlated) {
          const double* c = checked<double>(covariance, "covariance", {L, L}, "(L, L)");
          s.factor = semidefinite_factor(std::vector<double>(c, c + L * L), int(L));
        }
        const Address at{seed, Stream::data, run, block};
        return dtype == "float32" ? tokens<float>(s, at, L, d, n) : tokens<double>(s, at, L, d, n);
      },
      py::arg("law"), py::arg("nu"), py::arg("covariance"), py::arg("L"), py::arg("d"),
      py::arg("seed"), py::arg("run"), py::arg("block"), py::arg("n"),
      py::arg("dtype") = "float64");
}

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
