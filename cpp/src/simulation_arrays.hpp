// What every simulation shows and takes as arrays, whatever its dynamics.
#pragma once

#include <mutex>
#include <stdexcept>
#include <utility>

#include "arrays.hpp"
#include "seqsgd/run/simulation.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

struct InUse : std::runtime_error {
  InUse()
      : std::runtime_error(
            "this simulation is in use: it is advancing in another thread or below a callback") {}
};

// One thread at a time.
class Busy {
 public:
  template <class F>
  decltype(auto) use(F f) {
    const std::unique_lock<std::mutex> mine(mutex_, std::try_to_lock);
    if (!mine.owns_lock()) throw InUse();
    return f();
  }

 private:
  std::mutex mutex_;
};

template <class S>
bool advance(S& sim, Index target, const py::object& callback) {
  const Scheduler::Watch watch = [&](Index run_steps) {
    py::gil_scoped_acquire lock;
    if (PyErr_CheckSignals() != 0) throw py::error_already_set();
    return !callback.is_none() && py::bool_(callback(run_steps));
  };
  py::gil_scoped_release free;
  return sim.advance(target, watch);
}

template <class S>
py::dict records(S& sim) {
  const Records& r = sim.records();
  const Index runs = sim.size();
  py::dict out;
  out["m"] = array_of<double>({runs, r.count, r.n_weights}, r.m.data());
  out["q"] = array_of<double>({runs, r.count, r.n_weights}, r.q.data());
  out["e"] = array_of<double>({runs, r.count, r.n_positions}, r.e.data());
  out["loss"] = array_of<double>({runs, r.count}, r.loss.data());
  return out;
}

template <class S>
py::dict status(S& sim) {
  py::array_t<Index> step = array_of<Index>({sim.size()}), passage = array_of<Index>({sim.size()}),
                     nonfinite = array_of<Index>({sim.size()});
  for (Index r = 0; r < sim.size(); ++r) {
    const Progress& p = sim.progress(r);
    step.mutable_at(r) = p.step;
    passage.mutable_at(r) = p.passage;
    nonfinite.mutable_at(r) = p.nonfinite;
  }
  py::dict out;
  out["step"] = step;
  out["passage"] = passage;
  out["nonfinite"] = nonfinite;
  return out;
}

template <class S>
py::dict order_parameters(S& sim) {
  const Index runs = sim.size(), n = sim.records().n_weights, positions = sim.records().n_positions;
  py::array_t<double> m = array_of<double>({runs, n}), q = array_of<double>({runs, n}),
                      e = array_of<double>({runs, positions}), loss = array_of<double>({runs});
  for (Index r = 0; r < runs; ++r) {
    const OrderParameters o = sim.order_parameters(r);
    std::copy(o.m.begin(), o.m.end(), m.mutable_data() + r * n);
    std::copy(o.q.begin(), o.q.end(), q.mutable_data() + r * n);
    std::copy(o.e.begin(), o.e.end(), e.mutable_data() + r * positions);
    loss.mutable_at(r) = sim.progress(r).loss_last;
  }
  py::dict out;
  out["m"] = m;
  out["q"] = q;
  out["e"] = e;
  out["loss"] = loss;
  return out;
}

namespace detail {
inline std::vector<std::pair<std::string, std::vector<double>*>> parts_of(Records& r) {
  return {{"record_m", &r.m}, {"record_q", &r.q}, {"record_e", &r.e}, {"record_loss", &r.loss}};
}
}  // namespace detail

inline void put_records(Records& r, py::dict& out) {
  for (const auto& [name, part] : detail::parts_of(r))
    out[name.c_str()] = array_of<double>({Index(part->size())}, part->data());
}

inline py::array state_item(const py::dict& in, const char* key) {
  if (!in.contains(key))
    throw py::value_error("state: expected an entry '" + std::string(key) + "'");
  return in[key].cast<py::array>();
}
inline void check_records(Records& r, const py::dict& in) {
  for (const auto& [name, part] : detail::parts_of(r))
    checked<double>(state_item(in, name.c_str()), name.c_str(), {Index(part->size())},
                    "(records,)");
}
inline void take_records(Records& r, const py::dict& in) {
  for (const auto& [name, part] : detail::parts_of(r))
    std::copy_n(static_cast<const double*>(state_item(in, name.c_str()).data()), part->size(),
                part->data());
}

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
