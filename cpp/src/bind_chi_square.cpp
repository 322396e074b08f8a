// Chi-square draws, exposed so that their law can be tested.
#include "arrays.hpp"
#include "bind.hpp"
#include "seqsgd/random/chi_square.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

namespace {

template <class T>
void draw_chi_square(Index dof, std::uint64_t seed, Index n, double* p) {
  const ChiSquarePack chi(dof, sizeof(T) == 4);
  RunGenerators<T> g;
  for (int i = 0; i < group_size; ++i) g.seed(i, Address{seed, Stream::data, std::uint32_t(i), 0});
  for (Index at = 0; at < n; at += group_size) {
    for (int pack = 0; pack < group_packs; ++pack) {
      Pack x[2], u[ChiSquarePack::most_uniforms];
      draw_doubles(g, pack, chi.normals(), x);
      draw_uniforms(g, pack, chi.uniforms(), u);
      const Pack r = chi.draw(x, u, [&](int lane) {
        return ScalarPhilox(
            Purpose::rejection,
            Address{seed, Stream::data, std::uint32_t(pack * Pack::size + lane), std::uint64_t(at)},
            0);
      });
      for (int i = 0; i < Pack::size && at + pack * Pack::size + i < n; ++i)
        p[at + pack * Pack::size + i] = r[i];
    }
  }
}

bool in_single(const std::string& dtype) {
  if (dtype != "float32" && dtype != "float64")
    throw py::value_error("dtype: expected float32 or float64, got '" + dtype + "'");
  return dtype == "float32";
}

py::array chi_square(Index dof, std::uint64_t seed, Index n, const std::string& dtype) {
  if (dof < 0) throw py::value_error("dof: expected at least 0, got " + std::to_string(dof));
  if (n < 0) throw py::value_error("n: expected at least 0, got " + std::to_string(n));
  const bool single = in_single(dtype);
  py::array_t<double> out = array_of<double>({n});
  single ? draw_chi_square<float>(dof, seed, n, out.mutable_data())
         : draw_chi_square<double>(dof, seed, n, out.mutable_data());
  return out;
}

// In the precision of the normals.
py::array chi_square_of_normals(Index dof, const py::array& normals, const std::string& dtype) {
  if (dof < NormalToChiSquare::least)
    throw py::value_error("dof: expected at least " + std::to_string(NormalToChiSquare::least) +
                          ", got " + std::to_string(dof));
  const auto z = py::array_t<double, py::array::c_style | py::array::forcecast>(normals);
  py::array_t<double> out = array_of<double>({Index(z.size())});
  const auto by = [&](auto zero) {
    using T = decltype(zero);
    const NormalToChiSquare map(dof, sizeof(T) == 4);
    for (Index i = 0; i < z.size(); ++i) out.mutable_data()[i] = map(T(z.data()[i]));
  };
  in_single(dtype) ? by(0.0f) : by(0.0);
  return out;
}

}  // namespace

void bind_chi_square(py::module_& m) {
  m.def("chi_square", &chi_square, py::arg("dof"), py::arg("seed"), py::arg("n"),
        py::arg("dtype") = "float32");
  m.def("chi_square_of_normals", &chi_square_of_normals, py::arg("dof"), py::arg("normals"),
        py::arg("dtype"));
}

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
