// Simulations: one class template over them, a Python class for each dynamics.
#include <pybind11/stl.h>

#include <variant>

#include "bind.hpp"
#include "ffi.hpp"
#include "seqsgd/run/reduced_simulation.hpp"
#include "seqsgd/run/sampled_simulation.hpp"
#include "simulation_arrays.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

namespace {

// f(T()) in the precision of this name.
template <class F>
auto in_precision(const std::string& dtype, F f) {
  if (dtype != "float32" && dtype != "float64")
    throw py::value_error("dtype: expected float32 or float64, got '" + dtype + "'");
  return dtype == "float32" ? f(0.0f) : f(0.0);
}

// A simulation in one of the two precisions, used by one thread at a time.
template <template <class> class Kind>
class Bound final : public Steppable {
  template <class S>
  using scalar_of = typename std::remove_reference_t<S>::Scalar;

 public:
  static constexpr bool has_weights = Kind<double>::has_weights;

  Bound(std::shared_ptr<Task> task, Settings s, Index runs, Index first_run, int threads,
        const std::string& dtype) {
    py::gil_scoped_release free;
    in_precision(dtype, [&](auto zero) {
      sim_ = std::make_unique<Kind<decltype(zero)>>(std::move(task), std::move(s), runs, first_run,
                                                    threads);
    });
  }

  // (first_run is taken for the sake of one list of arguments.)
  static double bytes(const std::shared_ptr<Task>& task, const Settings& s, Index runs, Index,
                      int threads, const std::string& dtype) {
    return in_precision(
        dtype, [&](auto zero) { return Kind<decltype(zero)>::bytes(s, *task, runs, threads); });
  }

  bool advance(Index target, const py::object& callback) {
    return use([&](auto& sim) { return seqsgd::advance(sim, target, callback); });
  }
  py::dict records() {
    return use([](auto& sim) { return seqsgd::records(sim); });
  }
  py::dict status() {
    return use([](auto& sim) { return seqsgd::status(sim); });
  }
  py::dict order_parameters() {
    return use([](auto& sim) { return seqsgd::order_parameters(sim); });
  }
  void set_rate(const LearningRate& lr) {
    use([&](auto& sim) { sim.set_rate(lr); });
  }
  Index step(Index run) {
    return use([&](auto& sim) { return sim.progress(run).step; });
  }
  Index nonfinite(Index run) {
    return use([&](auto& sim) { return sim.progress(run).nonfinite; });
  }

  py::dict state() {
    return use([](auto& sim) {
      using T = scalar_of<decltype(sim)>;
      const Index n = sim.records().n_weights, size = sim.state_size(),
                  d = has_weights ? sim.settings().d : 0;
      py::array_t<T> v = array_of<T>({sim.size(), n, d});
      py::array_t<double> rest = array_of<double>({sim.size(), size});
      for (Index r = 0; r < sim.size(); ++r)
        sim.save(r, rest.mutable_data() + r * size, v.mutable_data() + r * n * d);
      py::dict out;
      if (has_weights) out["v"] = v;
      out["state"] = rest;
      put_records(sim.records(), out);
      return out;
    });
  }
  void set_state(const py::dict& in) {
    use([&](auto& sim) {
      using T = scalar_of<decltype(sim)>;
      const Index n = sim.records().n_weights, size = sim.state_size(),
                  d = has_weights ? sim.settings().d : 0;
      const py::array v = has_weights ? state_item(in, "v") : py::array(array_of<T>({0})),
                      rest = state_item(in, "state");
      const T* vp = has_weights ? checked<T>(v, "v", {sim.size(), n, d}, "(runs, weights, d)")
                                : static_cast<const T*>(v.data());
      const double* sp = checked<double>(rest, "state", {sim.size(), size}, "(runs, size)");
      check_records(sim.records(), in);
      for (Index r = 0; r < sim.size(); ++r)
        sim.check_state(sp + r * size, vp + r * n * d);  // all or nothing
      take_records(sim.records(), in);
      for (Index r = 0; r < sim.size(); ++r) sim.restore(r, sp + r * size, vp + r * n * d);
    });
  }

  // What only dynamics with weights have.

  py::array observe(const py::array& X, const py::object& y, Index run) {
    return use([&](auto& sim) -> py::array {
      using T = scalar_of<decltype(sim)>;
      const Index L = sim.task().L(), d = sim.settings().d, k = sim.task().k(),
                  n = X.ndim() == 3 ? Index(X.shape(0)) : -1;
      const T* x = checked<T>(X, "X", {-1, L, d}, "(n, L, d)");
      const py::array given = y.is_none() ? py::array() : y.cast<py::array>();  // kept alive
      const double* labels = y.is_none() ? nullptr : checked<double>(given, "y", {n, k}, "(n, k)");
      checks::index("run", run, sim.size());
      py::array_t<double> losses = array_of<double>({n});
      double* out = losses.mutable_data();
      py::gil_scoped_release free;
      for (Index i = 0; i < n; ++i)
        out[i] = sim.observe(run, x + i * L * d, labels ? labels + i * k : nullptr);
      return losses;
    });
  }
  py::array weights() {
    return use([](auto& sim) -> py::array {
      const Index n = sim.records().n_weights, d = sim.settings().d;
      py::array_t<double> w = array_of<double>({sim.size(), n, d});
      for (Index r = 0; r < sim.size(); ++r) sim.weights(r, w.mutable_data() + r * n * d);
      return w;
    });
  }
  py::array teacher() {
    return use([](auto& sim) -> py::array {
      const Index d = sim.settings().d;
      py::array_t<double> w = array_of<double>({sim.size(), d});
      for (Index r = 0; r < sim.size(); ++r) sim.teacher(r, w.mutable_data() + r * d);
      return w;
    });
  }
  py::array positions() {
    return use([](auto& sim) -> py::array {
      const Index d = sim.settings().d, L = sim.records().n_positions;
      py::array_t<double> p = array_of<double>({sim.size(), L, d});
      for (Index r = 0; r < sim.size() && L; ++r)
        Eigen::Map<Rows<double>>(p.mutable_data() + r * L * d, L, d) = sim.positions(r);
      return p;
    });
  }

  // For C, without Python: the first run.
  std::uintptr_t address() {
    return reinterpret_cast<std::uintptr_t>(static_cast<Steppable*>(this));
  }
  Index step_now() override { return step(0); }
  Index advance_by(Index n) override {
    return use([&](auto& sim) {
      const Index before = sim.progress(0).step;
      sim.advance(before + n, nullptr);
      return sim.progress(0).step - before;
    });
  }
  Index feed(const void* X, const double* y, Index n, double* losses) override {
    return use([&](auto& sim) {
      [[maybe_unused]] const Index L = sim.task().L(), d = sim.settings().d, k = sim.task().k(),
                                   before = sim.progress(0).step;
      if constexpr (has_weights) {
        const auto* x = static_cast<const scalar_of<decltype(sim)>*>(X);
        for (Index i = 0; i < n; ++i)
          losses[i] = sim.observe(0, x + i * L * d, y ? y + i * k : nullptr);
      }
      return sim.progress(0).step - before;
    });
  }
  void measure(double* m, double* q, double* e, double* loss) override {
    use([&](auto& sim) {
      const OrderParameters o = sim.order_parameters(0);
      if (m) std::copy(o.m.begin(), o.m.end(), m);
      if (q) std::copy(o.q.begin(), o.q.end(), q);
      if (e) std::copy(o.e.begin(), o.e.end(), e);
      if (loss) *loss = sim.progress(0).loss_last;
    });
  }
  void put_weights([[maybe_unused]] double* w) override {
    use([&](auto& sim) {
      if constexpr (has_weights) sim.weights(0, w);
    });
  }
  void sizes(std::int64_t* out) override {
    use([&](auto& sim) {
      for (Index x :
           {Index(sim.task().L()), sim.settings().d, Index(sim.task().k()), sim.records().n_weights,
            sim.records().n_positions, Index(sizeof(scalar_of<decltype(sim)>))})
        *out++ = x;
    });
  }

 private:
  template <class F>
  std::invoke_result_t<F, Kind<float>&> use(F f) {
    return busy_.use([&]() -> std::invoke_result_t<F, Kind<float>&> {
      return sim_.index() == 0 ? f(*std::get<0>(sim_)) : f(*std::get<1>(sim_));
    });
  }

  Busy busy_;
  std::variant<std::unique_ptr<Kind<float>>, std::unique_ptr<Kind<double>>> sim_;
};

// Order parameters of the starts of runs of the reduced dynamics.
py::dict starts(Index L, const Settings& s, Index runs, Index first_run) {
  check(s, L, runs, first_run, 1);
  const Coordinates c(s, L);
  const Index n = c.n, positions = c.encoded ? L : 0, all = follows_overlaps(s) ? n : 0;
  py::array_t<double> m = array_of<double>({runs, n}), e = array_of<double>({runs, positions}),
                      star = array_of<double>({runs, positions}),
                      Q = array_of<double>({runs, all, all}),
                      E = array_of<double>({runs, all, positions});
  double *at_m = m.mutable_data(), *at_e = e.mutable_data(), *at_star = star.mutable_data(),
         *at_Q = Q.mutable_data(), *at_E = E.mutable_data();
  {
    py::gil_scoped_release free;
    for (Index r = 0; r < runs; ++r) {
      const GramStart start = gram_start(s, c, std::uint32_t(first_run + r));
      at_m = std::copy_n(start.m.data(), n, at_m);
      at_e = std::copy_n(start.e.data(), positions, at_e);
      at_star = std::copy_n(start.star.data(), positions, at_star);
      if (all == 0) continue;
      Eigen::Map<Rows<double>>(at_Q + r * n * n, n, n) = start.Q;
      Eigen::Map<Rows<double>>(at_E + r * n * positions, n, positions) = start.E;
    }
  }
  py::dict out;
  for (const auto& [name, values] :
       {std::pair{"m", m}, {"e", e}, {"star", star}, {"Q", Q}, {"E", E}})
    out[name] = values;
  return out;
}

template <template <class> class Kind>
void bind(py::module_& m, const char* name, const char* doc) {
  using B = Bound<Kind>;
  using py::arg;
  py::class_<B> c(m, name, py::module_local(), doc);
  c.def(py::init<std::shared_ptr<Task>, Settings, Index, Index, int, const std::string&>(),
        arg("task").none(false), arg("settings"), arg("runs"), arg("first_run"), arg("threads"),
        arg("dtype"), "Refuse settings that do not fit the task, naming the one.")
      .def_static("bytes", &B::bytes, arg("task").none(false), arg("settings"), arg("runs"),
                  arg("first_run"), arg("threads"), arg("dtype"),
                  "Memory of such a simulation, to good approximation.")
      .def("advance", &B::advance, arg("target_step"), arg("callback") = py::none(),
           "Go to a step; callback(run_steps) is called now and then, true pauses. True when all "
           "runs are there, or have halted.")
      .def("set_rate", &B::set_rate, arg("lr"), "Learning rate from now on.")
      .def("records", &B::records, "m, q (runs, records, weights), e, loss.")
      .def("status", &B::status, "step, passage, nonfinite (runs,).")
      .def("step", &B::step, arg("run") = 0, "Steps done by a run.")
      .def("nonfinite", &B::nonfinite, arg("run") = 0,
           "Step at which a value of a run was not finite, -1 if none.")
      .def("order_parameters", &B::order_parameters, "m, q (runs, weights), e, loss, as of now.")
      .def("state", &B::state, "Everything that set_state needs.")
      .def("set_state", &B::set_state, arg("state"), "Take over a state, all of it or nothing.");
  if constexpr (B::has_weights)
    c.def("observe", &B::observe, arg("X"), arg("y"), arg("run") = 0,
          "Steps of a run on X (n, L, d) with labels y (n, k), or None for the teacher's; losses.")
        .def("weights", &B::weights, "w (runs, weights, d).")
        .def("teacher", &B::teacher, "w* (runs, d).")
        .def("positions", &B::positions, "P (runs, L, d).")
        .def("address", &B::address, "For the C entry points (entry_points).");
}

}  // namespace

void bind_simulations(py::module_& m) {
  bind<SampledSimulation>(m, "Sampled", "Simulation that draws tokens and moves w itself.");
  bind<ReducedSimulation>(m, "Reduced", "Simulation that moves the order parameters alone.");
  m.def("starts", &starts, py::arg("L"), py::arg("settings"), py::arg("runs"), py::arg("first_run"),
        "Starts of runs of the reduced dynamics: m (runs, weights), e and star = P w* / sqrt d "
        "(runs, L), and where overlaps between weights matter Q = W W^T / d (runs, weights, "
        "weights) and E = W P^T / sqrt d (runs, weights, L); without positions L is 0 here.");
}

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
