// A sampled simulation of many runs: owns the runs, their records and the workers' memory.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "ensemble.hpp"
#include "sampled.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

inline void check(const SampledSettings& s, const Task& task, Index runs, int threads) {
  const auto refuse = [](const std::string& what) { throw std::invalid_argument(what); };
  const auto number = [](auto x) { return std::to_string(x); };
  const Index L = task.L();
  if (s.d < 1) refuse("d: expected at least 1, got " + number(s.d));
  if (runs < 1) refuse("runs: expected at least 1, got " + number(runs));
  if (threads < 1) refuse("threads: expected at least 1, got " + number(threads));
  if (s.position == PositionKind::opposite && L != 2) refuse("position: the opposite encoding needs L = 2, got L = " + number(L));
  if (s.position == PositionKind::matrix && (s.P.rows() != L || s.P.cols() != s.d))
    refuse("P: expected shape (L, d) = (" + number(L) + ", " + number(s.d) + "), got (" + number(s.P.rows()) + ", " + number(s.P.cols()) + ")");
  if (s.position == PositionKind::injected && Index(s.c.size()) != L) refuse("c: expected L = " + number(L) + " entries, got " + number(s.c.size()));
  if (s.tokens.law == TokenLaw::student_t && !(s.tokens.nu > 2)) refuse("nu: expected more than 2 (finite variance), got " + number(s.tokens.nu));
  if (s.tokens.law == TokenLaw::correlated && Index(s.tokens.factor.F.size()) != L * L) refuse("covariance: expected shape (L, L)");
  if (s.lr.steps.empty() || s.lr.steps[0] != 0 || s.lr.steps.size() != s.lr.values.size()) refuse("lr: expected pieces that begin at step 0, one value each");
  for (std::size_t i = 1; i < s.lr.steps.size(); ++i)
    if (s.lr.steps[i] <= s.lr.steps[i - 1]) refuse("lr: expected pieces that begin at increasing steps");
  if (!(s.lr.t0 > 0) || !std::isfinite(s.lr.power)) refuse("lr: expected t0 > 0 and a finite power, got " + number(s.lr.t0) + " and " + number(s.lr.power));
  if (std::isnan(s.plan.eta)) refuse("eta: expected a number, got nan");
  if (!s.P.allFinite()) refuse("P: expected finite entries");
  for (double x : s.c)
    if (!std::isfinite(x)) refuse("c: expected finite entries, got " + number(x));
  for (double x : s.lr.values)
    if (!std::isfinite(x)) refuse("lr: expected finite values, got " + number(x));
  for (std::size_t i = 1; i < s.plan.record.size(); ++i)
    if (s.plan.record[i] <= s.plan.record[i - 1]) refuse("record: expected increasing steps");
  if (!s.plan.record.empty() && s.plan.record[0] < 0) refuse("record: expected steps >= 0, got " + number(s.plan.record[0]));
  check_start(s.d, weight_count(s, L), s.init, s.position == PositionKind::opposite);
}

template <class T>
class SampledSimulation {
 public:
  using Scalar = T;
  SampledSimulation(std::shared_ptr<const Task> task, SampledSettings s, Index runs, Index first_run, int threads)
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

  // Feed one sequence (L, d) of the caller's to a run; y (k) or null. Returns the loss.
  double observe(Index run, const T* x, const double* y) {
    Workspace<T>& ws = workspaces_[0];
    if (ws.X.rows() == 0) ws.X = Rows<T>::Zero(task_->L(), row_stride<T>(s_.d));
    for (Index l = 0; l < task_->L(); ++l) std::copy_n(x + l * s_.d, s_.d, ws.X.row(l).data());
    return runs_[std::size_t(run)]->observe(ws, y);
  }

  Index size() const { return Index(runs_.size()); }
  SampledRun<T>& run(Index r) { return *runs_[std::size_t(r)]; }
  const Task& task() const { return *task_; }
  const SampledSettings& settings() const { return s_; }
  Records& records() { return records_; }

  // Memory of such a simulation, to good approximation, before it is made.
  static double bytes(const SampledSettings& s, const Task& task, Index runs, int threads) {
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
  SampledSettings s_;
  Records records_;
  std::vector<Workspace<T>> workspaces_;
  std::vector<std::unique_ptr<SampledRun<T>>> runs_;
  std::vector<Unit*> units_;
};

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
