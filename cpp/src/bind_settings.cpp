// Settings of a simulation: one property for each member, checked in kind when it is set, and in
// value when a simulation is made.
#include <pybind11/stl.h>

#include "arrays.hpp"
#include "bind.hpp"
#include "seqsgd/state/settings.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

namespace {

template <class V>
std::vector<V> list_of(const py::array& a, const char* name) {
  const V* p = checked<V>(a, name, {-1}, "(n,)");
  return std::vector<V>(p, p + a.size());
}
template <class V>
py::array_t<V> array_from(const std::vector<V>& x) {
  return array_of<V>({Index(x.size())}, x.data());
}

py::array_t<double> matrix_from(const Matrix& P) {
  py::array_t<double> out = array_of<double>({Index(P.rows()), Index(P.cols())});
  Eigen::Map<Rows<double>>(out.mutable_data(), P.rows(), P.cols()) = P;
  return out;
}
void set_positions(Settings& s, const py::array& P) {
  const double* p = checked<double>(P, "P", {-1, -1}, "(L, d)");
  s.P = Eigen::Map<const Rows<double>>(p, P.shape(0), P.shape(1));
}

// C from its factor, and back.
py::array_t<double> covariance(const Settings& s) {
  const CovarianceFactor& f = s.tokens.factor;
  const Index L = Index(f.order.size());
  py::array_t<double> out = array_of<double>({L, L});
  for (Index i = 0; i < L; ++i)
    for (Index j = 0; j < L; ++j) {
      double c = 0;
      for (Index k = 0; k <= std::min(i, j); ++k)
        c += f.F[std::size_t(i * L + k)] * f.F[std::size_t(j * L + k)];
      out.mutable_at(f.order[std::size_t(i)], f.order[std::size_t(j)]) = c;
    }
  return out;
}
void set_covariance(Settings& s, const py::array& C) {
  const double* c = checked<double>(C, "covariance", {-1, -1}, "(L, L)");
  if (C.shape(0) != C.shape(1))
    throw py::value_error("covariance: expected a square matrix (L, L), got " + shape_text(C));
  s.tokens.factor =
      C.size() == 0 ? CovarianceFactor()
                    : semidefinite_factor(std::vector<double>(c, c + C.size()), int(C.shape(0)));
}

const char* init_name(const Settings& s) { return s.init.overlap ? "overlap" : "uniform"; }
void set_init(Settings& s, const std::string& name) {
  if (name != "overlap" && name != "uniform")
    throw py::value_error("init: expected overlap or uniform, got '" + name + "'");
  s.init.overlap = name == "overlap";
}

}  // namespace

void bind_settings(py::module_& m) {
  py::class_<FieldMap>(m, "FieldMap", py::module_local(), "Which token sees which weight vector.")
      .def_static("shared", &FieldMap::shared, py::arg("L"), py::arg("p") = 1,
                  "Every one of L tokens sees every one of p weight vectors.")
      .def_static("per_token", &FieldMap::per_token, py::arg("L"),
                  "Token l sees weight vector l alone.")
      .def_readonly("tokens", &FieldMap::tokens)
      .def_readonly("weights", &FieldMap::weights);
  py::class_<Spheres>(m, "Spheres", py::module_local(), "Which weight vectors share a sphere.")
      .def_static(
          "own", [](Index weights) { return Spheres::own(weights); }, py::arg("weights"),
          "Each has a sphere of its own, of squared radius d.")
      .def_static(
          "one", [](Index weights) { return Spheres::one(weights); }, py::arg("weights"),
          "All share one, of squared radius d times their number.");
  py::class_<LearningRate>(m, "LearningRate", py::module_local(),
                           "Piecewise constant values times (1 + step / t0)^-power.")
      .def(py::init([](const py::array& values, const py::array& steps, double t0, double power) {
             return LearningRate{list_of<Index>(steps, "lr_steps"),
                                 list_of<double>(values, "lr_values"), t0, power};
           }),
           py::arg("values"), py::arg("steps"), py::arg("t0") = 1.0, py::arg("power") = 0.0,
           "values (n,) float64, the k-th from step steps[k] on; steps (n,) int64 from 0.")
      .def_property_readonly("values", [](const LearningRate& r) { return array_from(r.values); })
      .def_property_readonly("steps", [](const LearningRate& r) { return array_from(r.steps); })
      .def_readonly("t0", &LearningRate::t0)
      .def_readonly("power", &LearningRate::power);
  py::class_<Settings>(m, "Settings", py::module_local(),
                       "What a simulation is told beside its task. Arrays are copied.")
      .def(py::init<>())
      .def_readwrite("d", &Settings::d, "Token dimension: entries of tokens have variance 1/d.")
      .def_readwrite("seed", &Settings::seed, "Seed of all streams, below 2^64.")
      .def_readwrite("fields", &Settings::fields,
                     "Which token sees which weight; one weight for all as it is made.")
      .def_readwrite("spheres", &Settings::spheres,
                     "Which weights share a sphere; none as it is made.")
      .def_readwrite("projected", &Settings::projected,
                     "Move by the component of the gradient orthogonal to w only.")
      .def_property(
          "position",
          [](const Settings& s) {
            constexpr const char* names[] = {"none", "opposite", "matrix", "injected"};
            return names[int(s.position)];
          },
          [](Settings& s, const std::string& name) { s.position = position_named(name); },
          "Positional encoding: none, opposite, matrix (P) or injected (c).")
      .def_property(
          "P", [](const Settings& s) { return matrix_from(s.P); }, &set_positions,
          "Positions (L, d) float64 of the encoding 'matrix'.")
      .def_property(
          "c", [](const Settings& s) { return array_from(s.c); },
          [](Settings& s, const py::array& c) { s.c = list_of<double>(c, "c"); },
          "Shifts (L,) float64 of the fields, of the encoding 'injected'.")
      .def_property("init", &init_name, &set_init, "Start: overlap (m0), or uniform on the sphere.")
      .def_property(
          "m0", [](const Settings& s) { return s.init.m0; },
          [](Settings& s, double m0) { s.init.m0 = m0; },
          "Overlap w . w* / d of every weight vector at the start.")
      .def_property(
          "random_sign", [](const Settings& s) { return s.init.random_sign; },
          [](Settings& s, bool sign) { s.init.random_sign = sign; },
          "Whether a run starts from m0 or -m0 with equal odds.")
      .def_property(
          "tokens", [](const Settings& s) { return token_law_names()[std::size_t(s.tokens.law)]; },
          [](Settings& s, const std::string& name) { s.tokens.law = token_law_named(name); },
          "Law of the tokens, one of token_law_names().")
      .def_property(
          "nu", [](const Settings& s) { return s.tokens.nu; },
          [](Settings& s, double nu) { s.tokens.nu = nu; },
          "Degrees of freedom of the law student_t.")
      .def_property("covariance", &covariance, &set_covariance,
                    "Covariance (L, L) float64 across tokens, of the law correlated; kept as a "
                    "factor, so what is read is right to rounding.")
      .def_readwrite("lr", &Settings::lr, "Learning rate; there is none as it is made.")
      .def_property(
          "record", [](const Settings& s) { return array_from(s.plan.record); },
          [](Settings& s, const py::array& steps) {
            s.plan.record = list_of<Index>(steps, "record");
          },
          "Steps (n,) int64 at which the state is recorded, ascending.")
      .def_property(
          "eta", [](const Settings& s) { return s.plan.eta; },
          [](Settings& s, double eta) { s.plan.eta = eta; },
          "Threshold of weak recovery; 0: not asked for.")
      .def_property(
          "halt", [](const Settings& s) { return s.plan.halt; },
          [](Settings& s, bool halt) { s.plan.halt = halt; },
          "Whether a run stops at weak recovery.")
      .def_readwrite("general", &Settings::general,
                     "Reduced dynamics: the general step also where there is a faster one.");
}

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
