// Softmax attention for runs side by side, one to a lane: the same functions as in attention.hpp,
// vectorised over runs instead of tokens.
#pragma once

#include "seqsgd/model/attention.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

// Up to here runs are worth more side by side than their tokens (beyond, traces are summed by
// moments: exponential_sums.hpp).
inline constexpr int few_tokens = 47;

namespace in_lanes {

using V = Runs;

// Two tokens: a row has one exponential, the ratio of its entries. own_l = S_ll, other_l = 1 -
// S_ll.
SEQSGD_INLINE void pair(const V* z, V (&own)[2], V (&other)[2]) {
  const V d = z[1] - z[0], a = seqsgd::exp(z[0] * d), b = seqsgd::exp(-(z[1] * d));
  const V p = 1.0 + a, q = 1.0 + b,
          c = 1.0 / (p * q);  // one division for both; the exponentials saturate far below the
                              // square root of the largest double
  own[0] = q * c;
  own[1] = p * c;
  other[0] = a * own[0];
  other[1] = b * own[1];
}

struct Range {
  V low, high;
  SEQSGD_INLINE Range(const V* z, int L) : low(z[0]), high(z[0]) {
    for (int l = 1; l < L; ++l) {
      low = choose(z[l] < low, z[l], low);
      high = choose(z[l] > high, z[l], high);
    }
  }
  SEQSGD_INLINE V end(V zl) const {
    return choose(zl > 0.0, high, low);
  }  // where the largest of the scores z_l z_k is
};

// Row l of S before division, into e; its sum. The exponent is exact at the largest score
// (attention.hpp).
SEQSGD_INLINE V row(const V* z, int L, V zl, V end, V* e) {
  V s{};
  for (int k = 0; k < L; ++k) {
    e[k] = seqsgd::exp((z[k] - end) * zl);
    s += e[k];
  }
  return s;
}

inline void softmax_matrix(const V* z, int L, V* S) {
  if (L == 2) {
    V own[2], other[2];
    pair(z, own, other);
    S[0] = own[0];
    S[1] = other[0];
    S[2] = other[1];
    S[3] = own[1];
    return;
  }
  const Range range(z, L);
  for (int l = 0; l < L; ++l, S += L) {
    const V c = 1.0 / row(z, L, z[l], range.end(z[l]), S);
    for (int k = 0; k < L; ++k) S[k] *= c;
  }
}

inline void softmax_matrix_backward(const V* z, int L, const V* S, const V* D, V* delta) {
  if (L == 2) {
    const V a = S[0] * S[1] * (D[1] - D[0]), b = S[2] * S[3] * (D[3] - D[2]);
    delta[0] = a * (z[1] - 2.0 * z[0]) - b * z[1];
    delta[1] = a * z[0] + b * (2.0 * z[1] - z[0]);
    return;
  }
  for (int l = 0; l < L; ++l) delta[l] = V{};
  for (int l = 0; l < L; ++l, S += L, D += L) {
    V t{}, own{};
    for (int k = 0; k < L; ++k) t += S[k] * D[k];
    for (int k = 0; k < L; ++k) {
      const V a = S[k] * (D[k] - t);  // d/d score
      own += a * z[k];
      delta[k] += a * z[l];
    }
    delta[l] += own;
  }
}

inline V softmax_trace(const V* z, int L, V* gradient, V* e) {
  if (L == 2) {
    V own[2], other[2];
    pair(z, own, other);
    const V a = own[0] * other[0] * sqrt_half, b = own[1] * other[1] * sqrt_half;
    gradient[0] = a * (2.0 * z[0] - z[1]) - b * z[1];
    gradient[1] = b * (2.0 * z[1] - z[0]) - a * z[0];
    return (own[0] + own[1]) * sqrt_half;
  }
  const Range range(z, L);
  const double scale = 1 / std::sqrt(double(L));
  V f{};
  for (int l = 0; l < L; ++l) gradient[l] = V{};
  for (int l = 0; l < L; ++l) {
    const V end = range.end(z[l]), c = 1.0 / row(z, L, z[l], end, e), s = e[l] * c, a = scale * s,
            b = a * z[l] * c;
    V dot{};
    f += s;
    for (int k = 0; k < L; ++k) {
      dot += e[k] * (z[k] - end);
      gradient[k] -= b * e[k];
    }
    gradient[l] += a * (z[l] + ((z[l] - end) - dot * c));
  }
  return f * scale;
}

inline V softmax_bilinear(const V* z, int L, const double* a, const double* b, V* gradient, V* e) {
  const Range range(z, L);
  V f{};
  for (int l = 0; l < L; ++l) gradient[l] = V{};
  for (int l = 0; l < L; ++l) {
    const V c = 1.0 / row(z, L, z[l], range.end(z[l]), e);
    V r{}, own{};
    for (int k = 0; k < L; ++k) r += e[k] * b[k];
    r *= c;
    f += a[l] * r;
    for (int k = 0; k < L; ++k) {
      const V g = a[l] * c * e[k] * (b[k] - r);
      own += g * z[k];
      gradient[k] += g * z[l];
    }
    gradient[l] += own;
  }
  return f;
}

}  // namespace in_lanes

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
