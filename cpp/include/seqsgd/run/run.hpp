// The loop of a run: fields -> task -> finite? -> move -> count, passage, record.
//
// A dynamics says how fields are drawn and how its state moves:
//
//     Workspace                     what a worker keeps for it
//     seek(ws, step), forget(ws)    go to a step of the run's streams; somebody else will go on
//     stretch(ws, step)             steps from here on that need no other look at the streams
//     draw(ws, step) -> Sample      fields of the step
//     draw_ahead(ws), next(ws)      what may be done while the task computes; the step is over
//     move(ws, size, gamma)         by -gamma times the gradient, size = sum |delta|; false if the
//                                   step cannot be represented
//     recovered(step)               whether the overlap is at least eta
//     measure() -> OrderParameters
//     state_size(), save, check_state, restore
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "seqsgd/model/task.hpp"
#include "seqsgd/state/settings.hpp"
#include "seqsgd/state/work_item.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

template <class Dynamics>
class alignas(128) Run final : public WorkItem {
 public:
  using Workspace = typename Dynamics::Workspace;

  template <class... Arguments>
  Run(const Task& task, const Settings& s, Index row, Records& records,
      std::vector<Workspace>& workspaces, Arguments&&... dynamics)
      : task_(task),
        s_(s),
        row_(row),
        records_(records),
        workspaces_(workspaces),
        dynamics_(task, s, std::forward<Arguments>(dynamics)...) {
    look_for_passage();
    record();
  }

  Dynamics& dynamics() { return dynamics_; }

  Index runs() const override { return 1; }
  bool done(Index target) const override { return p_.done(target, s_.plan); }
  const Progress& progress(Index) const override { return p_; }
  OrderParameters order_parameters(Index) const override { return dynamics_.measure(); }

  void advance(Index target, Index budget, int worker, const std::atomic<bool>& pause) override {
    Workspace& ws = workspaces_[std::size_t(worker)];
    const Index end = std::min(target, p_.step + budget);
    if (p_.step < end) dynamics_.seek(ws, p_.step);
    while (p_.step < end && !p_.halted(s_.plan) && !pause.load(std::memory_order_relaxed)) {
      const Index n = std::min({end - p_.step, std::max<Index>(p_.due(s_.plan, end) - p_.step, 1),
                                dynamics_.stretch(ws, p_.step)});
      try {
        for (Index i = 0; i < n && !p_.halted(s_.plan); ++i) step(ws);
      } catch (...) {  // of a user's function; the step's draws are used up
        dynamics_.forget(ws);
        throw;
      }
      record();
    }
  }

  // One step on the caller's tokens, which are in `ws`. Labels are y, or where that is null the
  // teacher's with this noise (k standard normals, or null for none). Returns the loss; NaN, and no
  // step, once a value was not finite.
  double observe(Workspace& ws, const double* y, const double* noise) {
    if (p_.nonfinite < 0) {
      const Sample s = dynamics_.read(ws);
      finish(ws, s,
             y ? task_.labelled(y, s.z, s.delta, s.scratch)
               : task_.evaluate(s.zstar, s.z, noise, s.delta, s.scratch));
      record();
    }
    return p_.nonfinite < 0 ? p_.loss_last : std::numeric_limits<double>::quiet_NaN();
  }

  Index state_size() const override { return dynamics_.state_size() + Progress::size; }
  void save(Index, double* state, void* w) const override {
    dynamics_.save(state, w);
    p_.save(state + dynamics_.state_size());
  }
  void check_state(const double* state, const void* w) const override {
    dynamics_.check_state(state, w);
    Progress::check(state + dynamics_.state_size(), s_.plan);
  }
  void restore(Index, const double* state, const void* w) override {
    dynamics_.restore(state, w);
    p_.restore(state + dynamics_.state_size());
  }

 private:
  void step(Workspace& ws) {
    const Sample s = dynamics_.draw(ws, p_.step);
    const double loss = task_.evaluate(s.zstar, s.z, s.noise, s.delta, s.scratch);
    dynamics_.draw_ahead(ws);
    finish(ws, s, loss);
    dynamics_.next(ws);
  }

  // From delta and the loss to the end of the step, if they are finite.
  void finish(Workspace& ws, const Sample& s, double loss) {
    double size = 0;
    for (Index f = 0; f < s.fields; ++f) size += std::fabs(s.delta[f]);
    if (!std::isfinite(loss) || !std::isfinite(size) || !dynamics_.move(ws, size, s_.lr(p_.step)))
      return p_.stop();
    p_.count(loss);
    look_for_passage();
  }
  void look_for_passage() {
    if (s_.plan.eta > 0 && p_.passage < 0 && dynamics_.recovered(p_.step)) p_.passage = p_.step;
  }
  void record() {
    p_.record_if_due(s_.plan, records_, row_, [&] { return dynamics_.measure(); });
  }

  const Task& task_;
  const Settings& s_;
  const Index row_;  // of the records
  Records& records_;
  std::vector<Workspace>& workspaces_;
  Dynamics dynamics_;
  Progress p_;
};

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
