// How the coordinates of a weight vector move in a step: without loss of what is far below their
// rounding, and far steps too.
#pragma once

#include "seqsgd/random/run_generators.hpp"
#include "seqsgd/simd/math.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

// A coordinate takes the sum of its increments, but for what its rounding would
// lose. The latter are those of the square if `squared`.
template <class V>
SEQSGD_INLINE void two_sum(bool squared, V& at, V& increments) {
  if (squared) {
    const V length = sqrt_nonneg(V(at * at + increments));
    increments += (at - length) * (at + length);
    at = length;
  } else {
    const V sum = at + increments, part = sum - at;
    increments = (at - (sum - part)) + (increments - part);
    at = sum;
  }
}

// The move of one weight vector, v in units of its coordinates: w <- (w + g (pull w - v)) / N.
struct Move {
  using V = Pack;
  V g, pull, nu, inverse;  // 1 / N = inverse = 1 + nu
  V untracked_norm2;       // squared length of what v has in directions that are not followed

  // The change of s, the length of what remains, before division by N: it becomes the root of
  // along^2 + across2.
  SEQSGD_INLINE V growth(const V& s, const V& v) const {
    const V x = g * (pull * s - v), grown2 = g * g * untracked_norm2, along = s + x;
    const PackMask small = grown2 < 0x1p-12 * along * absolute(along);
    const V over = 1.0 / along, y = grown2 * over,
            by_series = x + y * one_over_one_plus_root(y * over);
    if (__builtin_expect(!any(~small), 1)) return by_series;
    const V direct = (x * (x + 2.0 * s) + grown2) / (root(along * along + grown2) + s + 1e-300);
    return choose(
        small, by_series,
        direct);  // each lane by its own numbers: what a run does must not depend on its neighbours
  }
  // The change of a coordinate, from that before division by N. Not x + nu (at + x), which loses
  // what is left of a huge x.
  SEQSGD_INLINE V change(const V& at, const V& x) const { return inverse * x + nu * at; }

  // nu and 1 + nu from N^2 - 1; from the whole of N^2 where that is not small. Each lane by its own
  // numbers.
  template <class Whole>
  SEQSGD_INLINE void shrink(const V& x, Whole whole) {
    const V size = absolute(x);
    nu = inverse_root_less_one<7>(x);
    inverse = 1.0 + nu;
    if (__builtin_expect(all(size <= 0x1p-8), 1)) return;
    const V longer = inverse_root_less_one<9>(x);
    nu = choose(size <= 0x1p-8, nu, longer);
    inverse = 1.0 + nu;
    const PackMask small = size <= 0x1p-6;
    if (!any(~small)) return;
    const V direct = 1.0 / root(whole());
    nu = choose(small, nu, direct - 1.0);
    inverse = choose(small, inverse, direct);
  }
};

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
