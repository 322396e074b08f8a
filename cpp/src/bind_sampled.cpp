// The sampled simulation.
#include <pybind11/stl.h>

#include <variant>

#include "bind.hpp"
#include "ffi.hpp"
#include "settings.hpp"
#include "simulation_arrays.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

namespace {

// One of the two precisions, used by one thread at a time.
class Sampled final : public Steppable {
 public:
  Sampled(std::shared_ptr<Task> task, const py::kwargs& kwargs) {
    Call c = read_call(*task, kwargs);
    py::gil_scoped_release free;
    if (c.single)
      sim_.emplace<1>(std::make_unique<SampledSimulation<float>>(std::move(task), std::move(c.s),
                                                                 c.runs, c.first_run, c.threads));
    else
      sim_.emplace<2>(std::make_unique<SampledSimulation<double>>(std::move(task), std::move(c.s),
                                                                  c.runs, c.first_run, c.threads));
  }

  static double bytes(const std::shared_ptr<Task>& task, const py::kwargs& kwargs) {
    const Call c = read_call(*task, kwargs);
    return c.single ? SampledSimulation<float>::bytes(c.s, *task, c.runs, c.threads)
                    : SampledSimulation<double>::bytes(c.s, *task, c.runs, c.threads);
  }

  bool advance(Index target, const py::object& callback) {
    return use([&](auto& sim) { return seqsgd::advance(sim, target, callback); });
  }

  py::array observe(const py::array& X, const py::object& y, Index run) {
    return use([&](auto& sim) -> py::array {
      using T = typename std::remove_reference_t<decltype(sim)>::Scalar;
      const Index L = sim.task().L(), d = sim.settings().d, k = sim.task().k(),
                  n = X.ndim() == 3 ? Index(X.shape(0)) : -1;
      const T* x = checked<T>(X, "X", {-1, L, d}, "(n, L, d)");
      const py::array given = y.is_none() ? py::array() : y.cast<py::array>();  // kept alive
      const double* labels = y.is_none() ? nullptr : checked<double>(given, "y", {n, k}, "(n, k)");
      checked_run(sim, run);
      py::array_t<double> losses = array_of<double>({n});
      double* out = losses.mutable_data();
      {
        py::gil_scoped_release free;
        for (Index i = 0; i < n; ++i)
          out[i] = sim.observe(run, x + i * L * d, labels ? labels + i * k : nullptr);
      }
      return losses;
    });
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

  // From now on.
  void set_rate(const py::array& steps, const py::array& values, double t0, double power) {
    LearningRate lr = rate_of(steps, values, t0, power);
    use([&](auto& sim) { sim.set_rate(std::move(lr)); });
  }

  // Of one run, without the arrays of status().
  Index step(Index run) {
    return use([&](auto& sim) { return sim.run(checked_run(sim, run)).progress(0).step; });
  }
  Index nonfinite(Index run) {
    return use([&](auto& sim) { return sim.run(checked_run(sim, run)).progress(0).nonfinite; });
  }

  // For C, without Python.
  std::uintptr_t address() {
    return reinterpret_cast<std::uintptr_t>(static_cast<Steppable*>(this));
  }
  Index step_now() override {
    return use([](auto& sim) { return sim.run(0).progress(0).step; });
  }
  Index advance_by(Index n) override {
    return use([&](auto& sim) {
      const Index before = sim.run(0).progress(0).step;
      sim.advance(before + n, nullptr);
      return sim.run(0).progress(0).step - before;
    });
  }
  Index feed(const void* X, const double* y, Index n, double* losses) override {
    return use([&](auto& sim) {
      const auto* x =
          static_cast<const typename std::remove_reference_t<decltype(sim)>::Scalar*>(X);
      const Index L = sim.task().L(), d = sim.settings().d, k = sim.task().k(),
                  before = sim.run(0).progress(0).step;
      for (Index i = 0; i < n; ++i)
        losses[i] = sim.observe(0, x + i * L * d, y ? y + i * k : nullptr);
      return sim.run(0).progress(0).step - before;
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
  void put_weights(double* w) override {
    use([&](auto& sim) { sim.run(0).weights(w); });
  }
  void sizes(std::int64_t* out) override {
    use([&](auto& sim) {
      using T = typename std::remove_reference_t<decltype(sim)>::Scalar;
      for (Index x : {Index(sim.task().L()), sim.settings().d, Index(sim.task().k()),
                      sim.records().n_weights, sim.records().n_positions, Index(sizeof(T))})
        *out++ = x;
    });
  }

  py::array weights() {
    return use([](auto& sim) -> py::array {
      const Index n = sim.records().n_weights, d = sim.settings().d;
      py::array_t<double> w = array_of<double>({sim.size(), n, d});
      for (Index r = 0; r < sim.size(); ++r) sim.run(r).weights(w.mutable_data() + r * n * d);
      return w;
    });
  }

  py::array teacher() {
    return use([](auto& sim) -> py::array {
      const Index d = sim.settings().d;
      py::array_t<double> w = array_of<double>({sim.size(), d});
      for (Index r = 0; r < sim.size(); ++r) sim.run(r).teacher(w.mutable_data() + r * d);
      return w;
    });
  }

  py::array positions() {
    return use([](auto& sim) -> py::array {
      const Index d = sim.settings().d, L = sim.records().n_positions;
      py::array_t<double> p = array_of<double>({sim.size(), L, d});
      for (Index r = 0; r < sim.size() && L; ++r)
        Eigen::Map<Rows<double>>(p.mutable_data() + r * L * d, L, d) = sim.run(r).positions();
      return p;
    });
  }

  py::dict state() {
    return use([](auto& sim) {
      using T = typename std::remove_reference_t<decltype(sim)>::Scalar;
      const Index n = sim.records().n_weights, d = sim.settings().d, size = sim.run(0).state_size();
      py::array_t<T> v = array_of<T>({sim.size(), n, d});
      py::array_t<double> rest = array_of<double>({sim.size(), size});
      for (Index r = 0; r < sim.size(); ++r)
        sim.run(r).save(v.mutable_data() + r * n * d, rest.mutable_data() + r * size);
      py::dict out;
      out["v"] = v;
      out["state"] = rest;
      put_records(sim.records(), out);
      return out;
    });
  }

  void set_state(const py::dict& in) {
    use([&](auto& sim) {
      using T = typename std::remove_reference_t<decltype(sim)>::Scalar;
      const Index n = sim.records().n_weights, d = sim.settings().d, size = sim.run(0).state_size();
      const py::array v = state_item(in, "v"), rest = state_item(in, "state");
      const T* vp = checked<T>(v, "v", {sim.size(), n, d}, "(runs, weights, d)");
      const double* sp = checked<double>(rest, "state", {sim.size(), size}, "(runs, size)");
      check_records(sim.records(), in);
      for (Index r = 0; r < sim.size(); ++r)
        sim.run(r).check_state(vp + r * n * d, sp + r * size);  // all or nothing
      take_records(sim.records(), in);
      for (Index r = 0; r < sim.size(); ++r) sim.run(r).restore(vp + r * n * d, sp + r * size);
      return true;
    });
  }

 private:
  template <class Simulation>
  static Index checked_run(const Simulation& sim, Index run) {
    if (run < 0 || run >= sim.size())
      throw py::index_error("run: expected 0 to " + std::to_string(sim.size() - 1) + ", got " +
                            std::to_string(run));
    return run;
  }

  template <class F>
  std::invoke_result_t<F, SampledSimulation<float>&> use(F f) {
    return busy_.use([&]() -> std::invoke_result_t<F, SampledSimulation<float>&> {
      return sim_.index() == 1 ? f(*std::get<1>(sim_)) : f(*std::get<2>(sim_));
    });
  }

  Busy busy_;
  std::variant<std::monostate, std::unique_ptr<SampledSimulation<float>>,
               std::unique_ptr<SampledSimulation<double>>>
      sim_;
};

}  // namespace

void bind_sampled(py::module_& m) {
  py::class_<Sampled>(m, "Sampled", py::module_local())
      .def(py::init<std::shared_ptr<Task>, const py::kwargs&>(), py::arg("task").none(false))
      .def_static("bytes", &Sampled::bytes, py::arg("task").none(false))
      .def("advance", &Sampled::advance, py::arg("target_step"), py::arg("callback") = py::none())
      .def("observe", &Sampled::observe, py::arg("X"), py::arg("y"), py::arg("run") = 0)
      .def("set_rate", &Sampled::set_rate, py::arg("lr_steps"), py::arg("lr_values"),
           py::arg("lr_t0"), py::arg("lr_power"))
      .def("address", &Sampled::address)
      .def("records", &Sampled::records)
      .def("status", &Sampled::status)
      .def("step", &Sampled::step, py::arg("run") = 0)
      .def("nonfinite", &Sampled::nonfinite, py::arg("run") = 0)
      .def("order_parameters", &Sampled::order_parameters)
      .def("weights", &Sampled::weights)
      .def("teacher", &Sampled::teacher)
      .def("positions", &Sampled::positions)
      .def("state", &Sampled::state)
      .def("set_state", &Sampled::set_state, py::arg("state"));
}

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
