// A simulation of many runs by one of the dynamics: owns the runs, their records and the workers'
// memory.
//
// What cannot be is refused before anything is allocated or done: std::invalid_argument, or
// std::out_of_range for the number of a run, in one line that names the argument.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "seqsgd/model/task.hpp"
#include "seqsgd/run/scheduler.hpp"
#include "seqsgd/state/settings.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

// What simulations have in common, whatever their dynamics.
class Simulation {
 public:
  Simulation(const Simulation&) = delete;

  // To the step `target`; runs that are there already stay. True when all are, or have halted.
  bool advance(Index target, const Scheduler::Watch& watch) {
    checks::within("target", target, 0, most_steps);
    return Scheduler::advance(items_, target, workers_, watch);
  }

  Index size() const { return runs_; }
  const Progress& progress(Index r) const { return item(r).progress(r % runs_per_item_); }
  OrderParameters order_parameters(Index r) const {
    return item(r).order_parameters(r % runs_per_item_);
  }
  // From now on; not while a step is done.
  void set_rate(LearningRate lr) {
    detail::check_rate(lr);
    s_.lr = std::move(lr);
  }
  const Task& task() const { return *task_; }
  const Settings& settings() const { return s_; }
  Records& records() { return records_; }

  // The whole mutable state of a run (work_item.hpp); check_state throws unless restore can take
  // this.
  Index state_size() const { return items_[0]->state_size(); }
  void save(Index r, double* state, void* w = nullptr) const {
    item(r).save(r % runs_per_item_, state, w);
  }
  void check_state(const double* state, const void* w = nullptr) const {
    items_[0]->check_state(state, w);
  }
  void restore(Index r, const double* state, const void* w = nullptr) {
    check_state(state, w);
    item(r).restore(r % runs_per_item_, state, w);
  }

 protected:
  // The settings are good, and so is their size.
  Simulation(std::shared_ptr<const Task> task, Settings&& s, Index runs)
      : task_(std::move(task)),
        s_(std::move(s)),
        records_(runs, Index(s_.plan.record.size()), s_.fields.weights,
                 s_.encoded() ? task_->L() : 0),
        runs_(runs) {}

  // Throws unless there can be such a simulation, of which Derived::bytes gives the size.
  template <class Derived>
  static std::shared_ptr<const Task> accepted(std::shared_ptr<const Task> task, const Settings& s,
                                              Index runs, Index first_run, int threads) {
    check(s, checks::given("task", task.get())->L(), runs, first_run, threads);
    check_size(Derived::bytes(s, *task, runs, threads));
    return task;
  }
  // Of the records of one run.
  static double bytes_of_records(const Settings& s, const Task& task) {
    return double(s.plan.record.size()) * 8 *
           (2 * double(s.fields.weights) + (s.encoded() ? task.L() : 0) + 1);
  }
  WorkItem& item(Index r) const {
    return *items_[std::size_t(checks::index("run", r, runs_) / runs_per_item_)];
  }

  std::shared_ptr<const Task> task_;
  Settings s_;
  Records records_;
  const Index runs_;
  Index runs_per_item_ = 1;  // runs
  int workers_ = 1;
  std::vector<std::unique_ptr<WorkItem>> items_;
};

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
