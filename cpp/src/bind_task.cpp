// Links, activations, students and tasks.
#include <pybind11/functional.h>
#include <pybind11/stl.h>

#include "arrays.hpp"
#include "bind.hpp"
#include "seqsgd/model/task.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

namespace {

// A link given as a Python callable: takes the interpreter lock at every call.
class PythonLink final : public Link {
 public:
  PythonLink(int L, int k, py::object f) : Link(L, k), f_(std::move(f)) {}
  using Link::operator();
  void operator()(const double* z, double* y) const override {
    py::gil_scoped_acquire lock;
    const py::object r = f_(py::array_t<double>(L, z));
    const py::array raw = py::array::ensure(r);
    if (!raw) PyErr_Clear();
    if (!raw || std::string("biuf").find(raw.dtype().kind()) == std::string::npos)
      throw py::type_error("link: expected the function to return numbers, got " +
                           py::str(py::type::of(r)).cast<std::string>());
    const auto a = py::array_t<double, py::array::c_style | py::array::forcecast>(raw);
    if (a.size() != k)
      throw py::value_error("link: expected the function to return k = " + std::to_string(k) +
                            " numbers, got " + std::to_string(a.size()));
    std::copy_n(a.data(), k, y);
  }
  bool calls_python() const override { return true; }

 private:
  py::object f_;
};

double number(const char* what, const py::object& r) {
  try {
    return r.cast<double>();
  } catch (const py::cast_error&) {
    throw py::type_error(std::string(what) + ": expected the function to return a number, got " +
                         py::str(py::type::of(r)).cast<std::string>());
  }
}

ActivationPtr python_activation(py::object f, py::object df) {
  return make_activation([f = std::move(f), df = std::move(df)](double u, double& slope) {
    py::gil_scoped_acquire lock;
    slope = number("derivative", df(u));
    return number("sigma", f(u));
  });
}

// Calls f(i) for every row of a batch without the interpreter lock.
template <class F>
void each_row(Index n, F f) {
  py::gil_scoped_release free;
  for (Index i = 0; i < n; ++i) f(i);
}

py::tuple evaluate(const Task& t, const py::array& first, const py::array& z, bool labelled) {
  const Index L = t.L(), width = labelled ? t.k() : L, n = z.ndim() ? Index(z.shape(0)) : 0;
  const double* zp = checked<double>(z, "z", {-1, L}, "(n, L)");
  const double* fp =
      checked<double>(first, labelled ? "y" : "zstar", {n, width}, labelled ? "(n, k)" : "(n, L)");
  py::array_t<double> loss = array_of<double>({n}), delta = array_of<double>({n, L});
  double *lp = loss.mutable_data(), *dp = delta.mutable_data();
  std::vector<double> ws(t.scratch());
  each_row(n, [&](Index i) {
    lp[i] = labelled ? t.labelled(fp + i * width, zp + i * L, dp + i * L, ws.data())
                     : t.evaluate(fp + i * width, zp + i * L, nullptr, dp + i * L, ws.data());
  });
  return py::make_tuple(loss, delta);
}

// The same in packs, the last point again in lanes that are left over.
py::tuple evaluate_packs(const Task& t, const py::array& zstar, const py::array& z) {
  constexpr Index w = Pack::size;
  const Index L = t.L(), n = z.ndim() ? Index(z.shape(0)) : 0;
  const bool sums = t.sums().student_of_sum;
  const double* zp = checked<double>(z, "z", {-1, L}, "(n, L)");
  const double* sp = checked<double>(zstar, "zstar", {n, L}, "(n, L)");
  py::array_t<double> loss = array_of<double>({n}), delta = array_of<double>({n, L});
  double *lp = loss.mutable_data(), *dp = delta.mutable_data();
  LineVector<Pack> star(std::size_t(L), Pack{}), fields(star), out(star), ws(t.scratch());
  each_row((n + w - 1) / w, [&](Index block) {
    for (Index l = 0; l < L; ++l) {
      if (l == 0 || !sums) fields[std::size_t(l)] = Pack{};
      for (Index i = 0; i < w; ++i) {
        const Index at = std::min(block * w + i, n - 1) * L + l;
        star[std::size_t(l)][i] = sp[at];
        fields[std::size_t(sums ? 0 : l)][i] += zp[at];
      }
    }
    const Pack value = t.evaluate(star.data(), fields.data(), nullptr, out.data(), ws.data(),
                                  int(std::min(w, n - block * w)));
    for (Index i = 0; i < w && block * w + i < n; ++i) {
      lp[block * w + i] = value[i];
      for (Index l = 0; l < L; ++l) dp[(block * w + i) * L + l] = out[std::size_t(sums ? 0 : l)][i];
    }
  });
  return py::make_tuple(loss, delta);
}

py::array target(const Link& link, const py::array& z) {
  const double* zp = checked<double>(z, "zstar", {-1, Index(link.L)}, "(n, L)");
  py::array_t<double> y = array_of<double>({Index(z.shape(0)), Index(link.k)});
  double* yp = y.mutable_data();
  each_row(y.shape(0), [&](Index i) { link(zp + i * link.L, yp + i * link.k); });
  return y;
}

py::array output(const Task& t, const py::array& z) {
  const Student& s = t.student();
  const double* zp = checked<double>(z, "z", {-1, Index(s.L)}, "(n, L)");
  py::array_t<double> f = array_of<double>({Index(z.shape(0)), Index(s.k)});
  double* fp = f.mutable_data();
  std::vector<double> ws(s.scratch);
  each_row(f.shape(0), [&](Index i) { s.output(zp + i * s.L, fp + i * s.k, ws.data()); });
  return f;
}

// [(coefficient, {token: coefficients of He_0, He_1, ...}), ...], or None.
py::object terms(const Link& link) {
  const auto products = link.terms();
  if (!products) return py::none();
  py::list out;
  for (const auto& [coefficient, factors] : *products)
    out.append(py::make_tuple(coefficient, factors));
  return out;
}

LinkPtr hermite_link(int L, double scale, const std::vector<double>& c,
                     const std::vector<std::vector<int>>& tokens,
                     const std::vector<std::vector<int>>& degrees) {
  if (tokens.size() != c.size() || degrees.size() != c.size())
    throw py::value_error("terms: expected as many token and degree lists as coefficients");
  std::vector<HermiteLink::Term> terms;
  for (std::size_t i = 0; i < c.size(); ++i) {
    if (tokens[i].size() != degrees[i].size())
      throw py::value_error("terms: expected one degree a token");
    HermiteLink::Term t{c[i], {}};
    for (std::size_t j = 0; j < tokens[i].size(); ++j)
      t.factors.push_back({tokens[i][j], degrees[i][j]});
    terms.push_back(std::move(t));
  }
  return std::make_shared<HermiteLink>(L, scale, std::move(terms));
}

}  // namespace

void bind_task(py::module_& m) {
  m.def("link_names", [] {
    std::vector<std::string> out;
    for (const NamedLink& e : link_table()) out.push_back(e.name);
    return out;
  });
  m.def("activation_names", [] {
    std::vector<std::string> out;
    for (const auto& entry : activation_table()) out.push_back(entry.first);
    return out;
  });
  // By name the multiple of the half square that a loss is, or None.
  m.def("losses", [] {
    py::dict out;
    for (const Loss& loss : Loss::all())
      out[py::str(loss.name())] =
          loss.half_squares() > 0 ? py::object(py::float_(loss.half_squares())) : py::none();
    return out;
  });

  py::class_<Link, std::shared_ptr<Link>>(m, "Link", py::module_local())
      .def_readonly("L", &Link::L)
      .def_readonly("k", &Link::k)
      .def_property_readonly("calls_python", &Link::calls_python)
      .def_property_readonly("terms", &terms)
      .def("__call__", &target, py::arg("zstar"));
  const auto keep = [](LinkPtr p) { return std::const_pointer_cast<Link>(std::move(p)); };
  m.def(
      "link_named",
      [keep](const std::string& name, int L, double scale) {
        return keep(link_named(name, L, scale));
      },
      py::arg("name"), py::arg("L"), py::arg("scale"));
  m.def(
      "link_hermite",
      [keep](int L, double scale, const std::vector<double>& c,
             const std::vector<std::vector<int>>& t, const std::vector<std::vector<int>>& g) {
        return keep(hermite_link(L, scale, c, t, g));
      },
      py::arg("L"), py::arg("scale"), py::arg("coefficients"), py::arg("tokens"),
      py::arg("degrees"));
  m.def(
      "link_pointer",
      [keep](int L, int k, std::uintptr_t f, std::optional<std::uintptr_t> data) {
        return keep(std::make_shared<PointerLink>(L, k, reinterpret_cast<void*>(f),
                                                  reinterpret_cast<void*>(data.value_or(0))));
      },
      py::arg("L"), py::arg("k"), py::arg("function"), py::arg("data") = py::none());
  m.def(
      "link_python",
      [keep](int L, int k, py::object f) {
        return keep(std::make_shared<PythonLink>(L, k, std::move(f)));
      },
      py::arg("L"), py::arg("k"), py::arg("callable"));
  m.def(
      "link_attention",
      [keep](const std::string& reduction, const py::array& a, const py::array& b,
             const py::array& weights, const py::array& offset) {
        return keep(std::make_shared<AttentionLink>(
            reduction_named(reduction), vector_of(a, "a", -1, "(L,)"),
            vector_of(b, "b", -1, "(L,)"), vector_of(weights, "weights", -1, "(L,)"),
            vector_of(offset, "offset", -1, "(L,)")));
      },
      py::arg("reduction"), py::arg("a"), py::arg("b"), py::arg("weights"), py::arg("offset"));
  m.def(
      "link_positional_semantic",
      [keep](double omega, const py::array& A) {
        const Index L = A.ndim() == 2 ? Index(A.shape(0)) : -1;
        const double* p = checked<double>(A, "A", {L, L}, "(L, L)");
        return keep(std::make_shared<PositionalSemanticLink>(omega, int(L),
                                                             std::vector<double>(p, p + A.size())));
      },
      py::arg("omega"), py::arg("A"));

  py::class_<Activation, std::shared_ptr<Activation>>(m, "Activation", py::module_local())
      .def(
          "__call__",
          [](const Activation& s, const py::array& u) {
            const double* up = checked<double>(u, "u", {-1}, "(n,)");
            py::array_t<double> f = array_of<double>({Index(u.size())}),
                                df = array_of<double>({Index(u.size())});
            double *a = f.mutable_data(), *b = df.mutable_data();
            each_row(u.size(), [&](Index i) { a[i] = s(up[i], b[i]); });
            return py::make_tuple(f, df);
          },
          py::arg("u"));
  const auto hold = [](ActivationPtr p) {
    return std::const_pointer_cast<Activation>(std::move(p));
  };
  m.def(
      "activation_named", [hold](const std::string& name) { return hold(activation_named(name)); },
      py::arg("name"));
  m.def(
      "activation_hermite",
      [hold](const py::array& c) {
        return hold(hermite_activation(vector_of(c, "coefficients", -1, "(n,)")));
      },
      py::arg("coefficients"));
  m.def(
      "activation_pointer",
      [hold](std::uintptr_t f, std::uintptr_t df) {
        using F = double (*)(double);
        return hold(pointer_activation(reinterpret_cast<F>(f), reinterpret_cast<F>(df)));
      },
      py::arg("f"), py::arg("df"));
  m.def(
      "activation_python",
      [hold](py::object f, py::object df) {
        return hold(python_activation(std::move(f), std::move(df)));
      },
      py::arg("f"), py::arg("df"));

  py::class_<Student, std::shared_ptr<Student>>(m, "Student", py::module_local())
      .def_readonly("L", &Student::L)
      .def_readonly("k", &Student::k);
  m.def(
      "student_network",
      [](std::shared_ptr<Activation> sigma, int L) -> std::shared_ptr<Student> {
        return std::make_shared<Network>(std::move(sigma), L);
      },
      py::arg("activation").none(false), py::arg("L"));
  m.def(
      "student_attention",
      [](int L, const std::string& reduction, const py::array& a,
         const py::array& b) -> std::shared_ptr<Student> {
        return std::make_shared<Attention>(L, reduction_named(reduction),
                                           vector_of(a, "a", -1, "(L,)"),
                                           vector_of(b, "b", -1, "(L,)"));
      },
      py::arg("L"), py::arg("reduction"), py::arg("a"), py::arg("b"));

  py::class_<Task, std::shared_ptr<Task>>(m, "Task", py::module_local())
      .def(py::init([](std::shared_ptr<Link> link, std::shared_ptr<Student> student,
                       const std::string& loss, double noise) {
             return std::make_shared<Task>(std::move(link), std::move(student), loss, noise);
           }),
           py::arg("link").none(false), py::arg("student").none(false), py::arg("loss"),
           py::arg("noise"))
      .def_property_readonly("L", &Task::L)
      .def_property_readonly("k", &Task::k)
      .def(
          "evaluate",
          [](const Task& t, const py::array& zstar, const py::array& z) {
            return evaluate(t, zstar, z, false);
          },
          py::arg("zstar"), py::arg("z"))
      .def("evaluate_packs", &evaluate_packs, py::arg("zstar"), py::arg("z"))
      .def(
          "evaluate_labels",
          [](const Task& t, const py::array& y, const py::array& z) {
            return evaluate(t, y, z, true);
          },
          py::arg("y"), py::arg("z"))
      .def(
          "target", [](const Task& t, const py::array& zstar) { return target(t.link(), zstar); },
          py::arg("zstar"))
      .def("output", &output, py::arg("z"));
}

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
