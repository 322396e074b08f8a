// What a simulation is told beside its task: the same for every dynamics.
#pragma once

#include <cmath>
#include <string>
#include <vector>

#include "laws.hpp"
#include "positions.hpp"
#include "start.hpp"
#include "task.hpp"
#include "trajectory.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

struct Settings {
  Index d = 1;
  std::uint64_t seed = 0;
  Weights weights = Weights::shared;
  bool projected = false;  // only the component of the gradient orthogonal to w
  PositionKind position = PositionKind::none;
  Matrix P{0, 0};         // (L, d), kind matrix
  std::vector<double> c;  // (L), kind injected
  InitialCondition init;
  TokenSettings tokens;
  LearningRate lr;
  Plan plan;
  bool general = false;  // reduced dynamics: the general step (gram.hpp) also where there is a kernel
};

inline Index weight_count(const Settings& s, Index L) { return s.weights == Weights::shared ? 1 : L; }

inline void check(const Settings& s, const Task& task, Index runs, int threads) {
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

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
