// Functions of doubles alone, of a pack.
#pragma once

#include <vector>

#include "seqsgd/simd/pack.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

// A function of n doubles with m results, lane by lane: compute(x, y) for the first `count` lanes
// of the pack x, put(lane, y) for all of them; those beyond repeat the last.
template <class Compute, class Put>
void lane_by_lane(const Pack* x, int n, std::size_t m, int count, Compute compute, Put put) {
  thread_local std::vector<double> kept;  // grows once per thread
  std::vector<double> scratch;
  scratch.swap(kept);  // a user's function may re-enter
  const std::size_t inputs = std::size_t(n);
  if (scratch.size() < inputs + m) scratch.resize(inputs + m);
  double *one = scratch.data(), *y = one + inputs;
  for (int i = 0; i < Pack::size; ++i) {
    if (i < count) {
      for (std::size_t l = 0; l < inputs; ++l) one[l] = x[l][i];
      compute(one, y);
    }
    put(i, y);
  }
  scratch.swap(kept);
}

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
