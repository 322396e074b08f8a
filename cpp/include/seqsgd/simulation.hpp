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
  if (s.tokens.law == TokenLaw::correlated && Index(s.tokens.factor.size()) != L * L) refuse("covariance: expected shape (L, L)");
  if (s.lr.steps.empty() || s.lr.steps[0] != 0 || s.lr.steps.size() != s.lr.values.size()) refuse("lr: expected pieces that begin at step 0, one value each");
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
    for (Index r = 0; r < runs; ++r) {
      runs_.push_back(std::make_unique<SampledRun<T>>(*task_, s_, std::uint32_t(first_run + r), r, records_, workspaces_));
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
    const double L = task.L(), row = double(row_stride<T>(s.d)) * sizeof(T), n = double(weight_count(s, task.L()));
    const double positions = s.position == PositionKind::opposite ? (s.weights == Weights::shared ? 1 : L) : s.position == PositionKind::matrix ? L : 0;
    const bool rows_needed = !(s.weights == Weights::shared && task.student().sums_only && s.tokens.law == TokenLaw::gaussian);
    const double record = double(s.plan.record.size()) * 8 * (2 * n + (positions ? L : 0) + 1);
    const double worker = row * (rows_needed ? L : 1) + 8 * (6 * L + double(task.scratch())) + 64 * L + 40000 * double(sizeof(T)) +
                          (task.noisy() ? 8.0 * double(block_steps(task.L(), s.d)) * task.k() : 0);
    const double start = double(s.d) * 8 * (3 * n + 4 + (positions ? 2 * n + 2 + 4 * positions : 0));
    return double(runs) * (row * (n + 1 + positions) + record + 1000) + double(std::min<Index>(threads, runs)) * worker + start;
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
