// The sampled simulation.
#include <pybind11/stl.h>

#include <mutex>
#include <variant>

#include "arrays.hpp"
#include "bind.hpp"
#include "settings.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

namespace {

// One of the two precisions, used by one thread at a time.
class Sampled {
 public:
  Sampled(std::shared_ptr<Task> task, const py::kwargs& kwargs) {
    Call c = read_call(*task, kwargs);
    py::gil_scoped_release free;
    if (c.single)
      sim_.emplace<1>(std::make_unique<SampledSimulation<float>>(std::move(task), std::move(c.s), c.runs, c.first_run, c.threads));
    else
      sim_.emplace<2>(std::make_unique<SampledSimulation<double>>(std::move(task), std::move(c.s), c.runs, c.first_run, c.threads));
  }

  static double bytes(const std::shared_ptr<Task>& task, const py::kwargs& kwargs) {
    const Call c = read_call(*task, kwargs);
    return c.single ? SampledSimulation<float>::bytes(c.s, *task, c.runs, c.threads) : SampledSimulation<double>::bytes(c.s, *task, c.runs, c.threads);
  }

  bool advance(Index target, const py::object& callback) {
    const Ensemble::Watch watch = [&](Index run_steps) {
      py::gil_scoped_acquire lock;
      if (PyErr_CheckSignals() != 0) throw py::error_already_set();
      return !callback.is_none() && py::bool_(callback(run_steps));
    };
    return use([&](auto& sim) {
      py::gil_scoped_release free;
      return sim.advance(target, watch);
    });
  }

  py::array observe(const py::array& X, const py::object& y, Index run) {
    return use([&](auto& sim) -> py::array {
      using T = typename std::remove_reference_t<decltype(sim)>::Scalar;
      const Index L = sim.task().L(), d = sim.settings().d, k = sim.task().k(), n = X.ndim() == 3 ? Index(X.shape(0)) : -1;
      const T* x = checked<T>(X, "X", {-1, L, d}, "(n, L, d)");
      const py::array given = y.is_none() ? py::array() : y.cast<py::array>();  // kept alive
      const double* labels = y.is_none() ? nullptr : checked<double>(given, "y", {n, k}, "(n, k)");
      checked_run(sim, run);
      py::array_t<double> losses = array_of<double>({n});
      double* out = losses.mutable_data();
      {
        py::gil_scoped_release free;
        for (Index i = 0; i < n; ++i) out[i] = sim.observe(run, x + i * L * d, labels ? labels + i * k : nullptr);
      }
      return losses;
    });
  }

  py::dict records() {
    return use([](auto& sim) {
      const Records& r = sim.records();
      const Index runs = sim.size();
      py::dict out;
      out["m"] = array_of<double>({runs, r.count, r.n_weights}, r.m.data());
      out["q"] = array_of<double>({runs, r.count, r.n_weights}, r.q.data());
      out["e"] = array_of<double>({runs, r.count, r.n_positions}, r.e.data());
      out["loss"] = array_of<double>({runs, r.count}, r.loss.data());
      return out;
    });
  }

  py::dict status() {
    return use([](auto& sim) {
      py::array_t<Index> step = array_of<Index>({sim.size()}), passage = array_of<Index>({sim.size()}), nonfinite = array_of<Index>({sim.size()});
      for (Index r = 0; r < sim.size(); ++r) {
        const Progress& p = sim.run(r).progress(0);
        step.mutable_at(r) = p.step;
        passage.mutable_at(r) = p.passage;
        nonfinite.mutable_at(r) = p.nonfinite;
      }
      py::dict out;
      out["step"] = step;
      out["passage"] = passage;
      out["nonfinite"] = nonfinite;
      return out;
    });
  }

  // Of one run, without the arrays of status().
  Index step(Index run) {
    return use([&](auto& sim) { return sim.run(checked_run(sim, run)).progress(0).step; });
  }
  Index nonfinite(Index run) {
    return use([&](auto& sim) { return sim.run(checked_run(sim, run)).progress(0).nonfinite; });
  }

  py::dict order_parameters() {
    return use([](auto& sim) {
      const Index runs = sim.size(), n = sim.records().n_weights, positions = sim.records().n_positions;
      py::array_t<double> m = array_of<double>({runs, n}), q = array_of<double>({runs, n}), e = array_of<double>({runs, positions}), loss = array_of<double>({runs});
      for (Index r = 0; r < runs; ++r) {
        const OrderParameters o = sim.run(r).order_parameters(0);
        std::copy(o.m.begin(), o.m.end(), m.mutable_data() + r * n);
        std::copy(o.q.begin(), o.q.end(), q.mutable_data() + r * n);
        std::copy(o.e.begin(), o.e.end(), e.mutable_data() + r * positions);
        loss.mutable_at(r) = sim.run(r).progress(0).loss_last;
      }
      py::dict out;
      out["m"] = m;
      out["q"] = q;
      out["e"] = e;
      out["loss"] = loss;
      return out;
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
      for (Index r = 0; r < sim.size() && L; ++r) Eigen::Map<Rows<double>>(p.mutable_data() + r * L * d, L, d) = sim.run(r).positions();
      return p;
    });
  }

  py::dict state() {
    return use([](auto& sim) {
      using T = typename std::remove_reference_t<decltype(sim)>::Scalar;
      const Index n = sim.records().n_weights, d = sim.settings().d, size = sim.run(0).state_size();
      py::array_t<T> v = array_of<T>({sim.size(), n, d});
      py::array_t<double> rest = array_of<double>({sim.size(), size});
      for (Index r = 0; r < sim.size(); ++r) sim.run(r).save(v.mutable_data() + r * n * d, rest.mutable_data() + r * size);
      py::dict out;
      out["v"] = v;
      out["state"] = rest;
      const Records& rec = sim.records();
      for (const auto& [name, part] : parts(rec)) out[("record_" + std::string(name)).c_str()] = array_of<double>({Index(part->size())}, part->data());
      return out;
    });
  }

  void set_state(const py::dict& in) {
    use([&](auto& sim) {
      using T = typename std::remove_reference_t<decltype(sim)>::Scalar;
      const Index n = sim.records().n_weights, d = sim.settings().d, size = sim.run(0).state_size();
      const auto item = [&](const std::string& key) {
        if (!in.contains(key.c_str())) throw py::value_error("state: expected an entry '" + key + "'");
        return in[key.c_str()].template cast<py::array>();
      };
      const py::array v = item("v"), rest = item("state");
      const T* vp = checked<T>(v, "v", {sim.size(), n, d}, "(runs, weights, d)");
      const double* sp = checked<double>(rest, "state", {sim.size(), size}, "(runs, size)");
      for (const auto& [name, part] : parts(sim.records())) checked<double>(item(std::string("record_") + name), ("record_" + std::string(name)).c_str(), {Index(part->size())}, "(records,)");
      for (Index r = 0; r < sim.size(); ++r) sim.run(r).check_state(sp + r * size);  // all or nothing
      for (const auto& [name, part] : parts(sim.records())) {
        const py::array a = item(std::string("record_") + name);
        std::copy_n(static_cast<const double*>(a.data()), part->size(), const_cast<double*>(part->data()));
      }
      for (Index r = 0; r < sim.size(); ++r) sim.run(r).restore(vp + r * n * d, sp + r * size);
      return true;
    });
  }

 private:
  template <class Simulation>
  static Index checked_run(const Simulation& sim, Index run) {
    if (run < 0 || run >= sim.size()) throw py::index_error("run: expected 0 to " + std::to_string(sim.size() - 1) + ", got " + std::to_string(run));
    return run;
  }

  static std::vector<std::pair<const char*, const std::vector<double>*>> parts(const Records& r) { return {{"m", &r.m}, {"q", &r.q}, {"e", &r.e}, {"loss", &r.loss}}; }

  template <class F>
  std::invoke_result_t<F, SampledSimulation<float>&> use(F f) {
    const std::unique_lock<std::mutex> mine(busy_, std::try_to_lock);
    if (!mine.owns_lock()) throw std::runtime_error("this simulation is in use: it is advancing in another thread or below a callback");
    return sim_.index() == 1 ? f(*std::get<1>(sim_)) : f(*std::get<2>(sim_));
  }

  std::mutex busy_;
  std::variant<std::monostate, std::unique_ptr<SampledSimulation<float>>, std::unique_ptr<SampledSimulation<double>>> sim_;
};

}  // namespace

void bind_sampled(py::module_& m) {
  py::class_<Sampled>(m, "Sampled", py::module_local())
      .def(py::init<std::shared_ptr<Task>, const py::kwargs&>(), py::arg("task").none(false))
      .def_static("bytes", &Sampled::bytes, py::arg("task").none(false))
      .def("advance", &Sampled::advance, py::arg("target_step"), py::arg("callback") = py::none())
      .def("observe", &Sampled::observe, py::arg("X"), py::arg("y"), py::arg("run") = 0)
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
