// A simulation of many runs by one of the dynamics: owns the runs, their records and the workers'
// memory.
//
// What cannot be is refused before anything is allocated or done: std::invalid_argument, or
// std::out_of_range for the number of a run, in one line that names the argument.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "seqsgd/reduced/reduced.hpp"
#include "seqsgd/run/ensemble.hpp"
#include "seqsgd/sampled/sampled.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

template <class T>
class SampledSimulation {
 public:
  using Scalar = T;
  SampledSimulation(std::shared_ptr<const Task> task, Settings s, Index runs, Index first_run,
                    int threads)
      : task_(accepted(std::move(task), s, runs, first_run, threads)),
        s_(std::move(s)),
        records_(runs, Index(s_.plan.record.size()), weight_count(s_, task_->L()),
                 s_.position == PositionKind::opposite || s_.position == PositionKind::matrix
                     ? task_->L()
                     : 0) {
    const Index workers = std::min<Index>(threads, runs);
    workspaces_.reserve(std::size_t(workers));
    for (Index i = 0; i < workers; ++i) workspaces_.emplace_back(s_, *task_);
    std::shared_ptr<const Positions<T>> positions;  // the same for all runs if given
    if (s_.position == PositionKind::matrix)
      positions = std::make_shared<Positions<T>>(s_.P, s_.weights);
    for (Index r = 0; r < runs; ++r) {
      runs_.push_back(std::make_unique<SampledRun<T>>(
          *task_, s_, positions, std::uint32_t(first_run + r), r, records_, workspaces_));
      units_.push_back(runs_.back().get());
    }
  }
  SampledSimulation(const SampledSimulation&) = delete;

  // To the step `target`; runs that are there already stay. True when all are, or have halted.
  bool advance(Index target, const Ensemble::Watch& watch) {
    checks::within("target", target, 0, most_steps);
    return Ensemble::advance(units_, target, int(workspaces_.size()), watch);
  }

  // Feed one sequence x (L, d) of the caller's to a run; y (k), or null for the teacher's label
  // with this noise (k standard normals, or null for none). Returns the loss before the step; NaN,
  // and no step, where a value was not finite. Units: entries of x have mean 0 and variance 1/d.
  // Data of unit variance is to be divided by sqrt(d); nothing here looks.
  double observe(Index run, const T* x, const double* y, const double* noise = nullptr) {
    checks::index("run", run, size());
    checks::given("x", x);
    Workspace<T>& ws = workspaces_[0];
    if (ws.X.rows() == 0) ws.X = Rows<T>::Zero(task_->L(), row_stride<T>(s_.d));
    for (Index l = 0; l < task_->L(); ++l) std::copy_n(x + l * s_.d, s_.d, ws.X.row(l).data());
    return runs_[std::size_t(run)]->observe(ws, y, noise);
  }

  Index size() const { return Index(runs_.size()); }
  SampledRun<T>& run(Index r) { return *runs_[std::size_t(checks::index("run", r, size()))]; }
  const Progress& progress(Index r) const {
    return runs_[std::size_t(checks::index("run", r, size()))]->progress(0);
  }
  OrderParameters order_parameters(Index r) const {
    return runs_[std::size_t(checks::index("run", r, size()))]->order_parameters(0);
  }
  // From now on; not while a step is done.
  void set_rate(LearningRate lr) {
    detail::check_rate(lr);
    s_.lr = std::move(lr);
  }
  const Task& task() const { return *task_; }
  const Settings& settings() const { return s_; }
  Records& records() { return records_; }

  // Memory of such a simulation, to good approximation, before it is made.
  static double bytes(const Settings& s, const Task& task, Index runs, int threads) {
    check(s, task, runs, 0, threads);
    if (double(task.L()) * double(s.d) >= 0x1p60)
      checks::refuse("d", "L d below 2^60, with L = " + checks::text(task.L()), s.d);
    const double L = task.L(), row = double(row_stride<T>(s.d)) * sizeof(T),
                 n = double(weight_count(s, task.L())), d = double(s.d);
    const bool matrix = s.position == PositionKind::matrix,
               opposite = s.position == PositionKind::opposite,
               gaussian = s.tokens.law == TokenLaw::gaussian;
    const bool ahead = gaussian && steps_ahead(task.L(), s.d) > 0,
               sums = s.weights == Weights::shared && task.sums().student_of_sum;
    const double record =
        double(s.plan.record.size()) * 8 * (2 * n + (matrix || opposite ? L : 0) + 1);
    const double run = row * (n + 1 + (opposite ? n : 0)) + record +
                       8 * 4 * (n + (matrix ? L : 0)) + double(sizeof(SampledRun<T>)) + 2000;
    const double tails = double(block_steps(task.L(), s.d)) * L * double(s.d % unit) *
                         sizeof(T);  // of steps that are not drawn ahead
    const double worker = row * ((ahead || (sums && gaussian) ? 0 : L) + (sums ? 1 : 0)) +
                          (sums ? L * simd::bytes : 0) + (ahead ? 0 : tails) +
                          8 * (6 * L + double(task.scratch())) + L * (2 * sizeof(T) + 16) + 40000 +
                          8 * double(s.tokens.factor.F.size()) +
                          (task.noisy() ? 8.0 * double(block_steps(task.L(), s.d)) * task.k() : 0);
    const double start = 8 * d * (2 * n + 4 + (opposite ? 2 * n + 8 : 0));
    const double shared =
        (matrix ? row * L + 8 * L * (L + 4 * d) : 0) + 16 * double(s.tokens.factor.F.size());
    return double(runs) * run + double(std::min<Index>(threads, runs)) * worker + start + shared;
  }

 private:
  static std::shared_ptr<const Task> accepted(std::shared_ptr<const Task> task, const Settings& s,
                                              Index runs, Index first_run, int threads) {
    check(s, *checks::given("task", task.get()), runs, first_run, threads);
    check_size(bytes(s, *task, runs, threads));
    return task;
  }

  std::shared_ptr<const Task> task_;
  Settings s_;
  Records records_;
  std::vector<Workspace<T>> workspaces_;
  std::vector<std::unique_ptr<SampledRun<T>>> runs_;
  std::vector<Unit*> units_;
};

// The same for the reduced dynamics; `single` draws in single precision.
class ReducedSimulation {
 public:
  ReducedSimulation(std::shared_ptr<const Task> task, Settings s, Index runs, Index first_run,
                    int threads, bool single)
      : task_(accepted(std::move(task), s, runs, first_run, threads, single)),
        s_(std::move(s)),
        records_(runs, Index(s_.plan.record.size()), weight_count(s_, task_->L()),
                 s_.position == PositionKind::opposite || s_.position == PositionKind::matrix
                     ? task_->L()
                     : 0),
        setting_(*task_, s_, single, records_),
        one_by_one_(general(s_)),
        per_unit_(one_by_one_ ? 1 : runs_per_unit(runs, setting_.draws.together, threads)) {
    for (Index first = 0; first < runs; first += per_unit_) {
      if (one_by_one_)
        owned_.push_back(std::make_unique<GramRun>(
            *task_, s_, setting_.coordinates, std::uint32_t(first_run + first), first, records_));
      else
        owned_.push_back(std::make_unique<ReducedUnit>(setting_, std::uint32_t(first_run + first),
                                                       first, std::min(per_unit_, runs - first)));
      units_.push_back(owned_.back().get());
    }
    for (Index i = 0; i < std::min<Index>(threads, Index(units_.size())); ++i)
      setting_.workspaces.push_back(
          std::make_unique<ReducedWorkspace>(*task_, setting_.coordinates, setting_.draws));
    runs_ = runs;
  }
  ReducedSimulation(const ReducedSimulation&) = delete;

  // To the step `target`; runs that are there already stay. True when all are, or have halted.
  bool advance(Index target, const Ensemble::Watch& watch) {
    checks::within("target", target, 0, most_steps);
    return Ensemble::advance(units_, target, int(setting_.workspaces.size()), watch);
  }

  Index size() const { return runs_; }
  const Progress& progress(Index r) const { return unit(r).progress(r % per_unit_); }
  OrderParameters order_parameters(Index r) const {
    return unit(r).order_parameters(r % per_unit_);
  }
  Index state_size() const { return owned_[0]->state_size(); }
  void save(Index r, double* state) const {
    unit(r).save(r % per_unit_, checks::given("state", state));
  }
  void check_state(const double* state) const {
    owned_[0]->check_state(checks::given("state", state));
  }
  void restore(Index r, const double* state) {
    check_state(state);
    owned_[std::size_t(checks::index("run", r, runs_) / per_unit_)]->restore(r % per_unit_, state);
  }
  const Task& task() const { return *task_; }
  Records& records() { return records_; }

  // Memory of such a simulation, to good approximation, before it is made.
  static double bytes(const Settings& s, const Task& task, Index runs, int threads, bool single) {
    check(s, task, runs, 0, threads);
    check_reduced(s);
    const double L = task.L(), n = double(weight_count(s, task.L())), all = double(runs);
    const bool matrix = s.position == PositionKind::matrix,
               encoded = matrix || s.position == PositionKind::opposite;
    const double record = double(s.plan.record.size()) * 8 * (2 * n + (encoded ? L : 0) + 1);
    const double shared =
        (matrix ? 8 * L * (2 * L + 4 * double(s.d)) : 0) + 16 * double(s.tokens.factor.F.size());
    const Coordinates c(s, task.L(), false);
    const ReducedDraws draws(task, s, c, single);
    if (general(s)) {
      const double workers = double(std::min<Index>(threads, runs));
      return all * (record + GramRun::bytes(c, task)) +
             workers * (GramRun::bytes_of_step(c) + ReducedWorkspace::bytes(task, c, draws)) +
             shared;
    }
    const Index each = runs_per_unit(runs, draws.together, threads),
                units = (runs + each - 1) / each, taken = std::min(each, runs);
    const double batches = double(units) * double((taken + draws.together - 1) / draws.together),
                 workers = double(std::min<Index>(threads, units));
    return all * (record + ReducedUnit::bytes_per_run(c)) +
           batches * ReducedBatch::bytes(c, draws) +
           workers * ReducedWorkspace::bytes(task, c, draws) + shared;
  }

 private:
  // Whole batches, several to a unit so that lanes can be filled up, few enough for all threads to
  // have work; few runs are shared out among the threads by single numbers of runs.
  static Index runs_per_unit(Index runs, Index together, int threads) {
    if (runs < together * threads)
      return wide * ((runs + Index(wide) * threads - 1) / (Index(wide) * threads));
    const Index batches = (runs + together - 1) / together;
    return together * std::clamp<Index>(batches / (4 * threads), 1, 8);
  }
  const ReducedRuns& unit(Index r) const {
    return *owned_[std::size_t(checks::index("run", r, runs_) / per_unit_)];
  }
  static std::shared_ptr<const Task> accepted(std::shared_ptr<const Task> task, const Settings& s,
                                              Index runs, Index first_run, int threads,
                                              bool single) {
    check(s, *checks::given("task", task.get()), runs, first_run, threads);
    check_size(bytes(s, *task, runs, threads, single));
    return task;
  }
  // Whether runs take the general step: asked for, or because overlaps between weights matter.
  static bool general(const Settings& s) {
    return s.general || (s.tokens.law == TokenLaw::correlated && s.weights != Weights::shared);
  }

  std::shared_ptr<const Task> task_;
  Settings s_;
  Records records_;
  ReducedSetting setting_;
  const bool one_by_one_;
  const Index per_unit_;
  Index runs_ = 0;
  std::vector<std::unique_ptr<ReducedRuns>> owned_;
  std::vector<Unit*> units_;
};

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
