// A simulation of the sampled dynamics, which moves the weights themselves in precision T.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "seqsgd/run/run.hpp"
#include "seqsgd/run/simulation.hpp"
#include "seqsgd/sampled/dynamics.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

template <class T>
class SampledSimulation : public Simulation {
 public:
  using Scalar = T;
  static constexpr bool has_weights = true;  // and can be fed tokens

  SampledSimulation(std::shared_ptr<const Task> task, Settings s, Index runs, Index first_run,
                    int threads)
      : Simulation(accepted<SampledSimulation>(std::move(task), s, runs, first_run, threads),
                   std::move(s), runs) {
    workers_ = int(std::min<Index>(threads, runs));
    workspaces_.reserve(std::size_t(workers_));
    for (int i = 0; i < workers_; ++i) workspaces_.emplace_back(s_, *task_);
    std::shared_ptr<const Positions<T>> positions;  // the same for all runs if given
    if (s_.position == PositionKind::matrix)
      positions = std::make_shared<Positions<T>>(s_.P, s_.fields.one_weight());
    for (Index r = 0; r < runs; ++r)
      items_.push_back(std::make_unique<SampledRun>(*task_, s_, r, records_, workspaces_,
                                                    std::uint32_t(first_run + r), positions));
  }

  // Feed one sequence x (L, d) of the caller's to a run; y (k), or null for the teacher's
  // label with this noise (k standard normals, or null for none). Returns the loss before the step;
  // NaN, and no step, where a value was not finite. Units: entries of x have mean 0 and variance
  // 1/d. Data of unit variance is to be divided by sqrt(d); nothing here looks.
  double observe(Index r, const T* x, const double* y, const double* noise = nullptr) {
    SampledRun& to = run(r);
    checks::given("x", x);
    Workspace<T>& ws = workspaces_[0];
    if (ws.X.rows() == 0) ws.X = Rows<T>::Zero(task_->L(), row_stride<T>(s_.d));
    for (Index l = 0; l < task_->L(); ++l) std::copy_n(x + l * s_.d, s_.d, ws.X.row(l).data());
    return to.observe(ws, y, noise);
  }

  // Weights (n, d), w* (d) and P (L, d; no rows without positions) of a run.
  void weights(Index r, double* out) { run(r).dynamics().weights(out); }
  void teacher(Index r, double* out) { run(r).dynamics().teacher(out); }
  Matrix positions(Index r) { return run(r).dynamics().positions(); }

  // Memory of such a simulation, to good approximation, before it is made.
  static double bytes(const Settings& s, const Task& task, Index runs, int threads) {
    check(s, task.L(), runs, 0, threads);
    if (double(task.L()) * double(s.d) >= 0x1p60)
      checks::refuse("d", "L d below 2^60, with L = " + checks::text(task.L()), s.d);
    const double L = task.L(), row = double(row_stride<T>(s.d)) * sizeof(T),
                 n = double(s.fields.weights), d = double(s.d);
    const bool matrix = s.position == PositionKind::matrix,
               opposite = s.position == PositionKind::opposite,
               gaussian = s.tokens.law == TokenLaw::gaussian;
    const bool ahead = gaussian && steps_ahead(task.L(), s.d) > 0,
               sums = s.fields.one_weight() && task.sums().student_of_sum;
    const double run = row * (n + 1 + (opposite ? n : 0)) + bytes_of_records(s, task) +
                       8 * 4 * (n + (matrix ? L : 0)) + double(sizeof(SampledRun)) + 2000;
    const double tails = double(block_steps(task.L(), s.d)) * L * double(s.d % draw_size) *
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
  using SampledRun = Run<SampledDynamics<T>>;
  SampledRun& run(Index r) { return static_cast<SampledRun&>(item(r)); }

  std::vector<Workspace<T>> workspaces_;
};

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
