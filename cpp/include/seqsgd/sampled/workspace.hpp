// What one worker needs to step any of the runs of a sampled simulation.
#pragma once

#include <vector>

#include "seqsgd/model/task.hpp"
#include "seqsgd/sampled/token_stream.hpp"
#include "seqsgd/state/settings.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

// Allocated once, nothing in the loop.
template <class T>
struct alignas(128) Workspace {
  Workspace(const Settings& s, const Task& task)
      : stream(s.tokens, task.L(), s.d, task.noisy() ? task.k() : 0),
        sums(s.fields.one_weight() && task.sums().student_of_sum),
        X(stream.mode() == TokenStream<T>::Mode::prefetched ||
                  (sums && stream.mode() == TokenStream<T>::Mode::fused)
              ? 0
              : task.L(),
          row_stride<T>(s.d)),
        sum(sums ? 1 : 0, row_stride<T>(s.d)),
        accumulators(sums ? 1 : 0, task.L() * simd::width<T>),
        z(task.L()),
        zstar(z),
        raw(z),
        rawstar(z),
        offset(z),
        delta(z),
        scratch(task.scratch()),
        rows(2 * task.L() + 2),
        c(rows.size()) {
    X.setZero();
    sum.setZero();
  }
  TokenStream<T> stream;
  const bool sums;  // one weight vector and a student of sum_l z_l: the tokens are only needed
                    // through their sum
  Rows<T> X, sum, accumulators;
  const T* x = nullptr;  // this step's tokens: rows of stride x_stride
  Index x_stride = 0;
  double x_scale = 1;                // its units, 1 or 1 / sqrt d
  double largest_x = largest_drawn;  // |X_lj| in these units
  LineVector<double> z, zstar, raw, rawstar, offset, delta, scratch;
  LineVector<const T*> rows;
  LineVector<T> c;
  static constexpr double largest_drawn = 100;
};

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
