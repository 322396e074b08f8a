// A simulation of many runs by one of the dynamics: owns the runs, their records and the workers' memory.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "ensemble.hpp"
#include "reduced.hpp"
#include "sampled.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

template <class T>
class SampledSimulation {
 public:
  using Scalar = T;
  SampledSimulation(std::shared_ptr<const Task> task, Settings s, Index runs, Index first_run, int threads)
      : task_((check(s, *task, runs, threads), std::move(task))), s_(std::move(s)),
        records_(runs, Index(s_.plan.record.size()), weight_count(s_, task_->L()), s_.position == PositionKind::opposite || s_.position == PositionKind::matrix ? task_->L() : 0) {
    const Index workers = std::min<Index>(threads, runs);
    workspaces_.reserve(std::size_t(workers));
    for (Index i = 0; i < workers; ++i) workspaces_.emplace_back(s_, *task_);
    std::shared_ptr<const Positions<T>> positions;  // the same for all runs if given
    if (s_.position == PositionKind::matrix) positions = std::make_shared<Positions<T>>(s_.P, s_.weights);
    for (Index r = 0; r < runs; ++r) {
      runs_.push_back(std::make_unique<SampledRun<T>>(*task_, s_, positions, std::uint32_t(first_run + r), r, records_, workspaces_));
      units_.push_back(runs_.back().get());
    }
  }
  SampledSimulation(const SampledSimulation&) = delete;

  bool advance(Index target, const Ensemble::Watch& watch) { return Ensemble::advance(units_, target, int(workspaces_.size()), watch); }

  // Feed one sequence (L, d) of the caller's to a run, entries of variance 1/d; y (k), or null for the teacher's label with this noise (k standard
  // normals, or null for none). Returns the loss before the step.
  double observe(Index run, const T* x, const double* y, const double* noise = nullptr) {
    Workspace<T>& ws = workspaces_[0];
    if (ws.X.rows() == 0) ws.X = Rows<T>::Zero(task_->L(), row_stride<T>(s_.d));
    for (Index l = 0; l < task_->L(); ++l) std::copy_n(x + l * s_.d, s_.d, ws.X.row(l).data());
    return runs_[std::size_t(run)]->observe(ws, y, noise);
  }

  Index size() const { return Index(runs_.size()); }
  SampledRun<T>& run(Index r) { return *runs_[std::size_t(r)]; }
  const Progress& progress(Index r) const { return runs_[std::size_t(r)]->progress(0); }
  OrderParameters order_parameters(Index r) const { return runs_[std::size_t(r)]->order_parameters(0); }
  const Task& task() const { return *task_; }
  const Settings& settings() const { return s_; }
  Records& records() { return records_; }

  // Memory of such a simulation, to good approximation, before it is made.
  static double bytes(const Settings& s, const Task& task, Index runs, int threads) {
    check(s, task, runs, threads);
    const double L = task.L(), row = double(row_stride<T>(s.d)) * sizeof(T), n = double(weight_count(s, task.L())), d = double(s.d);
    const bool matrix = s.position == PositionKind::matrix, opposite = s.position == PositionKind::opposite;
    const bool rows_needed = !(s.weights == Weights::shared && task.student().sums_only && s.tokens.law == TokenLaw::gaussian);
    const double record = double(s.plan.record.size()) * 8 * (2 * n + (matrix || opposite ? L : 0) + 1);
    const double run = row * (n + 1 + (opposite ? n : 0)) + record + 8 * 6 * (n + (matrix ? L : 0)) + 4000;
    const double worker = row * (rows_needed ? L : 1) + 8 * (12 * L + double(task.scratch())) + 64 * L + 40000 * double(sizeof(T)) + 8 * double(s.tokens.factor.F.size()) +
                          (task.noisy() ? 8.0 * double(block_steps(task.L(), s.d)) * task.k() : 0);
    const double start = 8 * d * (2 * n + 4 + (opposite ? 2 * n + 8 : 0));
    const double shared = (matrix ? row * L + 8 * L * (L + 4 * d) : 0) + 16 * double(s.tokens.factor.F.size());
    return double(runs) * run + double(std::min<Index>(threads, runs)) * worker + start + shared;
  }

 private:
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
  ReducedSimulation(std::shared_ptr<const Task> task, Settings s, Index runs, Index first_run, int threads, bool single)
      : task_((check(s, *task, runs, threads), std::move(task))), s_(std::move(s)),
        records_(runs, Index(s_.plan.record.size()), weight_count(s_, task_->L()), s_.position == PositionKind::opposite || s_.position == PositionKind::matrix ? task_->L() : 0),
        setting_(*task_, s_, single, records_), one_by_one_(general(s_)), per_unit_(one_by_one_ ? 1 : runs_per_unit(runs, setting_.draws.together, threads)) {
    for (Index first = 0; first < runs; first += per_unit_) {
      if (one_by_one_)
        owned_.push_back(std::make_unique<GramRun>(*task_, s_, setting_.coordinates, std::uint32_t(first_run + first), first, records_));
      else
        owned_.push_back(std::make_unique<ReducedUnit>(setting_, std::uint32_t(first_run + first), first, std::min(per_unit_, runs - first)));
      units_.push_back(owned_.back().get());
    }
    for (Index i = 0; i < std::min<Index>(threads, Index(units_.size())); ++i) setting_.workspaces.push_back(std::make_unique<ReducedWorkspace>(*task_, setting_.coordinates, setting_.draws));
    runs_ = runs;
  }
  ReducedSimulation(const ReducedSimulation&) = delete;

  bool advance(Index target, const Ensemble::Watch& watch) { return Ensemble::advance(units_, target, int(setting_.workspaces.size()), watch); }

  Index size() const { return runs_; }
  const Progress& progress(Index r) const { return unit(r).progress(r % per_unit_); }
  OrderParameters order_parameters(Index r) const { return unit(r).order_parameters(r % per_unit_); }
  Index state_size() const { return owned_[0]->state_size(); }
  void save(Index r, double* state) const { unit(r).save(r % per_unit_, state); }
  void check_state(const double* state) const { owned_[0]->check_state(state); }
  void restore(Index r, const double* state) { owned_[std::size_t(r / per_unit_)]->restore(r % per_unit_, state); }
  const Task& task() const { return *task_; }
  Records& records() { return records_; }

  // Memory of such a simulation, to good approximation, before it is made.
  static double bytes(const Settings& s, const Task& task, Index runs, int threads) {
    check(s, task, runs, threads);
    const double L = task.L(), n = double(weight_count(s, task.L()));
    const bool matrix = s.position == PositionKind::matrix, encoded = matrix || s.position == PositionKind::opposite;
    const double r = !encoded ? 0 : matrix && n == 1 ? std::min(L, double(s.d)) : 1;
    const double record = double(s.plan.record.size()) * 8 * (2 * n + (encoded ? L : 0) + 1);
    const bool lean = task.student().sums_only && !encoded;
    const double run = 8 * (4 * n * (r + 2) + (lean ? 4 * n : 0) + 2 * (encoded ? (L + 1) * (r + 1) : 0) + (general(s) ? L * (8 * L + 2 * (encoded ? L : 0)) : 0)) + 1000;
    const double worker = 16 * double(simd::bytes) * (6 * L + n * (r + 3) + double(task.scratch()) + (task.noisy() ? task.k() : 0)) + 100000;
    const double shared = (matrix ? 8 * L * (L + 4 * double(s.d)) : 0) + 16 * double(s.tokens.factor.F.size());
    return double(runs) * record + double(runs + batch * std::min<Index>(threads, runs)) * run + double(std::min<Index>(threads, runs)) * worker + shared;
  }

 private:
  // Whole batches, several to a unit so that lanes can be filled up, few enough for all threads to have work; few runs are shared out among the threads by single numbers of runs.
  static Index runs_per_unit(Index runs, Index together, int threads) {
    if (runs < together * threads) return wide * ((runs + Index(wide) * threads - 1) / (Index(wide) * threads));
    const Index batches = (runs + together - 1) / together;
    return together * std::clamp<Index>(batches / (4 * threads), 1, 8);
  }
  const ReducedRuns& unit(Index r) const { return *owned_[std::size_t(r / per_unit_)]; }
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
