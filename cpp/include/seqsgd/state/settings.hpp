// What a simulation needs apart from its task: the same for every dynamics.
#pragma once

#include <cmath>
#include <string>
#include <vector>

#include "seqsgd/random/token_laws.hpp"
#include "seqsgd/simd/checks.hpp"
#include "seqsgd/state/fields.hpp"
#include "seqsgd/state/positions.hpp"
#include "seqsgd/state/record.hpp"
#include "seqsgd/state/start.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

struct Settings {
  Index d = 1;  // token dimension: entries of tokens have variance 1/d
  std::uint64_t seed = 0;
  FieldMap fields;         // which token sees which weight: FieldMap::shared(L), per_token(L)
  Spheres spheres;         // which weights share a sphere
  bool projected = false;  // only the component of the gradient orthogonal to w
  PositionKind position = PositionKind::none;
  Matrix P{0, 0};         // (L, d), kind matrix
  std::vector<double> c;  // (L), kind injected
  InitialCondition init;
  TokenSettings tokens;
  LearningRate lr;  // to be set
  Plan plan;
  bool general =
      false;  // reduced dynamics: the general step (gram.hpp) also where there is a kernel

  // Whether there are positions that are vectors.
  bool encoded() const {
    return position == PositionKind::opposite || position == PositionKind::matrix;
  }
};

// Bounds of what the streams, and arithmetic with whole numbers, can tell apart: the same as in
// Python.
inline constexpr Index most_d = Index(1) << 40, most_runs = Index(1) << 32,
                       most_steps = Index(1) << 53, most_threads = 4096;
inline constexpr double largest_P =
    1e15;  // so that squares and products of the entries of P stay finite in single precision

namespace detail {

inline void check_fields(const Settings& s, Index L) {
  const FieldMap& f = s.fields;
  if (f.tokens != L && (f.tokens != 0 || !f.one_weight()))
    checks::refuse("fields", "a map of L = " + checks::text(L) + " tokens", f.tokens);
  if (!f.one_weight() && !(f.own && f.weights == L))
    checks::refuse("fields", "one weight that all tokens see, or one for each token", f.weights);
  if (s.spheres.weights != f.weights && (s.spheres.weights != 0 || s.spheres.one()))
    checks::refuse("spheres", "those of " + checks::text(f.weights) + " weights",
                   s.spheres.weights);
}

inline void check_position(const Settings& s, Index L) {
  if (s.position == PositionKind::opposite && L != 2)
    checks::refuse("position", "L = 2 for the opposite encoding", L);
  if (s.position == PositionKind::matrix) {
    if (s.P.rows() != L) checks::refuse("P", "L = " + checks::text(L) + " rows", Index(s.P.rows()));
    if (s.P.cols() != s.d)
      checks::refuse("P", "d = " + checks::text(s.d) + " columns", Index(s.P.cols()));
    for (Index i = 0; i < s.P.size(); ++i)
      if (!(std::fabs(s.P.data()[i]) <= largest_P))
        checks::refuse("P", "entries of magnitude up to 1e15", s.P.data()[i]);
  }
  if (s.position == PositionKind::injected) {
    if (Index(s.c.size()) != L)
      checks::refuse("c", "L = " + checks::text(L) + " entries", s.c.size());
    checks::finite("c", s.c);
  }
}

inline void check_tokens(const TokenSettings& t, Index L) {
  if (t.law == TokenLaw::student_t && !(t.nu > 2 && std::isfinite(t.nu)))
    checks::refuse("nu", "a finite number > 2 (finite variance)", t.nu);
  if (t.law != TokenLaw::correlated) return;
  const CovarianceFactor& f = t.factor;
  if (Index(f.F.size()) != L * L)
    checks::refuse("factor.F",
                   "L x L = " + checks::text(L * L) + " entries, of semidefinite_factor",
                   f.F.size());
  if (Index(f.order.size()) != L)
    checks::refuse("factor.order", "L = " + checks::text(L) + " entries, of semidefinite_factor",
                   f.order.size());
  checks::finite("factor.F", f.F);
  std::vector<char> seen(std::size_t(L), 0);
  for (int i : f.order) {
    if (i < 0 || i >= L || seen[std::size_t(i)])
      checks::refuse("factor.order", "each of 0 to " + checks::text(L - 1) + " once", i);
    seen[std::size_t(i)] = 1;
  }
}

inline void check_rate(const LearningRate& lr) {
  if (lr.values.empty())
    throw std::invalid_argument("lr: expected a learning rate, got none; set lr.values");
  if (lr.steps.size() != lr.values.size())
    checks::refuse("lr", "one value for each of the " + checks::text(lr.steps.size()) + " pieces",
                   lr.values.size());
  if (lr.steps[0] != 0) checks::refuse("lr", "pieces that begin at step 0", lr.steps[0]);
  for (std::size_t i = 1; i < lr.steps.size(); ++i)
    if (lr.steps[i] <= lr.steps[i - 1])
      checks::refuse("lr", "pieces that begin at increasing steps", lr.steps[i]);
  for (double x : lr.values)
    if (!(x >= 0 && std::isfinite(x))) checks::refuse("lr", "finite values >= 0", x);
  if (!(lr.t0 > 0 && std::isfinite(lr.t0))) checks::refuse("lr.t0", "a finite number > 0", lr.t0);
  if (!(lr.power >= 0 && std::isfinite(lr.power)))
    checks::refuse("lr.power", "a finite number >= 0", lr.power);
}

inline void check_plan(const Plan& plan) {
  // ||(e, m)|| may exceed 1 where P is not orthogonal to w*
  if (!(plan.eta >= 0 && std::isfinite(plan.eta)))
    checks::refuse("eta", "a finite number > 0, or 0 for none", plan.eta);
  Index before = -1;
  for (Index step : plan.record) {
    if (step < 0 || step > most_steps) checks::refuse("record", "steps in [0, 2^53]", step);
    if (step <= before) checks::refuse("record", "increasing steps", step);
    before = step;
  }
}

}  // namespace detail

// Throws std::invalid_argument, whose message names the setting, before anything is allocated.
inline void check(const Settings& s, Index L, Index runs, Index first_run, int threads) {
  checks::within("d", s.d, 1, most_d);
  checks::within("runs", runs, 1, most_runs);
  checks::within("first_run", first_run, 0, most_runs - runs);
  checks::within("threads", threads, 1, most_threads);
  detail::check_fields(s, L);
  detail::check_position(s, L);
  detail::check_tokens(s.tokens, L);
  detail::check_rate(s.lr);
  detail::check_plan(s.plan);
  check_start(s.d, s.fields.weights, s.init, s.position == PositionKind::opposite);
}

// Of a size beyond which whole numbers no longer count bytes.
inline void check_size(double bytes) {
  if (!(bytes < 0x1p62))
    checks::refuse("runs, record, L, d", "a simulation of less than 2^62 bytes", bytes);
}

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
