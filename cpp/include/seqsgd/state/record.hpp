// What is recorded and when, when a run stops, and what is known of it: the same for every
// dynamics.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <stdexcept>
#include <vector>

#include "seqsgd/simd/simd.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

// Learning rate: piecewise constant values, times (1 + step / t0)^-power.
struct LearningRate {
  std::vector<Index> steps{0};  // first step of each piece; steps[0] = 0
  std::vector<double> values;   // one to a piece, >= 0; to be set, there is no default
  double t0 = 1, power = 0;

  double operator()(Index step) const {
    const std::size_t i =
        steps.size() == 1
            ? 0
            : std::size_t(std::upper_bound(steps.begin(), steps.end(), step) - steps.begin() - 1);
    return power == 0 ? values[i] : values[i] * std::pow(1 + double(step) / t0, -power);
  }
};

struct Plan {
  std::vector<Index> record;  // steps at which the state is recorded, ascending
  double eta = 0;             // threshold of weak recovery; 0: not asked
  bool halt = false;          // whether a run stops there
};

struct OrderParameters {
  std::vector<double> m, q, e;
};

// Records of all runs, NaN where nothing was recorded. A unit writes only the rows of its own runs.
class Records {
 public:
  Records(Index runs, Index count, Index n_weights, Index n_positions)
      : count(count),
        n_weights(n_weights),
        n_positions(n_positions),
        m(filled(runs * count * n_weights)),
        q(m),
        e(filled(runs * count * n_positions)),
        loss(filled(runs * count)) {}

  void put(Index run, Index i, const OrderParameters& o, double mean_loss) {
    const Index at = run * count + i;
    std::copy(o.m.begin(), o.m.end(), m.begin() + at * n_weights);
    std::copy(o.q.begin(), o.q.end(), q.begin() + at * n_weights);
    std::copy(o.e.begin(), o.e.end(), e.begin() + at * n_positions);
    loss[std::size_t(at)] = mean_loss;
  }

  const Index count, n_weights, n_positions;
  std::vector<double> m, q, e, loss;

 private:
  static std::vector<double> filled(Index n) {
    return std::vector<double>(std::size_t(n), std::numeric_limits<double>::quiet_NaN());
  }
};

// The state of one run in the eyes of whoever steps, records or resumes it.
struct Progress {
  Index step = 0;
  Index passage = -1;    // first step at or above eta
  Index nonfinite = -1;  // step at which a value was not finite; the state is that before it, where
                         // that could be told in time
  Index next_record = 0;
  double loss_sum = 0, loss_last = std::numeric_limits<double>::quiet_NaN();
  Index loss_count = 0;

  bool halted(const Plan& plan) const { return nonfinite >= 0 || (plan.halt && passage >= 0); }

  bool done(Index target, const Plan& plan) const { return step >= target || halted(plan); }

  // A step was done at this loss.
  void count(double loss) {
    loss_last = loss;
    loss_sum += loss;
    ++loss_count;
    ++step;
  }

  // The step in hand is not to be taken: a value was not finite.
  void stop() { nonfinite = step + 1; }
  // The last step was counted, but not taken.
  void take_back() {
    --step;
    --loss_count;
  }

  // The step of the next record, or `otherwise`.
  Index due(const Plan& plan, Index otherwise) const {
    return next_record < Index(plan.record.size()) ? plan.record[std::size_t(next_record)]
                                                   : otherwise;
  }
  // Puts measure(), with the mean loss since the record before, into this row if a record is due.
  template <class Measure>
  void record_if_due(const Plan& plan, Records& records, Index row, Measure measure) {
    while (next_record < Index(plan.record.size()) &&
           plan.record[std::size_t(next_record)] <= step) {
      if (plan.record[std::size_t(next_record)] == step) {
        records.put(row, next_record, measure(), loss_sum / double(loss_count));
        loss_sum = 0;
        loss_count = 0;
      }
      ++next_record;
    }
  }

  // As `size` doubles, and back.
  static constexpr Index size = 7;
  void save(double* out) const {
    for (double x : {double(step), double(passage), double(nonfinite), double(next_record),
                     loss_sum, loss_last, double(loss_count)})
      *out++ = x;
  }
  void restore(const double* in) {
    step = Index(in[0]);
    passage = Index(in[1]);
    nonfinite = Index(in[2]);
    next_record = Index(in[3]);
    loss_sum = in[4];
    loss_last = in[5];
    loss_count = Index(in[6]);
  }
  // Throws unless restore can take this.
  static void check(const double* in, const Plan& plan) {
    const auto within = [](double x, double low, double high) {
      if (!(x >= low && x <= high)) refuse();
    };
    within(in[0], 0, 0x1p53);
    within(in[1], -1, in[0]);
    within(in[2], -1, in[0] + 1);
    within(in[3], 0, double(plan.record.size()));
    within(in[6], 0, 0x1p53);
  }
  static void refuse() {
    throw std::invalid_argument(
        "state: expected what a simulation with the same settings has saved");
  }
};

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
