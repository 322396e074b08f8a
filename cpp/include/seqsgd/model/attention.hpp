// Softmax attention of one head of dimension one: S_lk = exp(z_l z_k) / sum_j exp(z_l z_j), and its
// reductions to an output.
#pragma once

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>
#include <vector>

#include "seqsgd/model/exponential_sums.hpp"
#include "seqsgd/simd/checks.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

enum class Reduction { none, trace, bilinear };

// Entries of an L x L output.
inline int matrix_size(Index L) {
  checks::within("L", L, 1, 32768);  // what an L x L output can have
  return int(L * L);
}
// The vectors of a^T S b.
inline void check_bilinear(Index L, const std::vector<double>& a, const std::vector<double>& b) {
  for (const auto& [name, x] :
       {std::pair<const char*, const std::vector<double>&>{"a", a}, {"b", b}}) {
    if (Index(x.size()) != L)
      checks::refuse(name, "L = " + std::to_string(L) + " entries", x.size());
    checks::finite(name, x);
  }
}

inline Reduction reduction_named(const std::string& name) {
  if (name == "none") return Reduction::none;
  if (name == "trace") return Reduction::trace;
  if (name == "bilinear") return Reduction::bilinear;
  throw std::invalid_argument("reduction: expected none, trace or bilinear, got '" + name + "'");
}

// Row l of S before division: e_k = exp(z_l z_k - z_l end), with the sums of e_k and of e_k (z_k -
// end). The largest score z_l end is at an end of z's range. Written (z_k - end) z_l, the exponent
// is 0 there and has two roundings elsewhere; z_k z_l - top would lose what separates scores that
// are large.
struct SoftmaxRow {
  double sum, dot, end;
};
inline SoftmaxRow softmax_row(const double* z, int L, double zl, double low, double high,
                              double* e) {
  using namespace simd;
  constexpr int w = width<double>;
  const double end = zl >= 0 ? high : low;
  int k = 0;
  f64 s{}, h{};
  for (; k + w <= L; k += w) {
    const f64 x = load(z + k) - end, p = seqsgd::exp(x * zl);
    store(e + k, p);
    s += p;
    h += p * x;
  }
  SoftmaxRow r{simd::sum<double>(s), simd::sum<double>(h), end};
  for (; k < L; ++k) {
    const double x = z[k] - end;
    e[k] = seqsgd::exp(x * zl);
    r.sum += e[k];
    r.dot += e[k] * x;
  }
  return r;
}

// Two tokens: a row has one exponential, the ratio of its entries; own_l = S_ll, other_l = 1 -
// S_ll.
struct PairSoftmax {
  simd::f64 own, other;
  explicit PairSoftmax(const double* z) {
    simd::f64 x{};
    x[0] = z[0] * (z[1] - z[0]);
    x[1] = z[1] * (z[0] - z[1]);
    const simd::f64 ratio = seqsgd::exp(x);
    own = 1.0 / (1.0 + ratio);
    other = ratio * own;
  }
};

// S of two tokens.
template <bool Four = simd::has_four>
SEQSGD_INLINE void softmax_two(const double* z, double* S) {
  if constexpr (Four) {  // as PairSoftmax, every row twice: S leaves as one vector
    using four = simd::four;
    const four a = {z[0], z[0], z[1], z[1]}, b = {z[1], z[1], z[0], z[0]},
               ratio = seqsgd::exp(a * (b - a)), own = 1.0 / (1.0 + ratio), other = ratio * own;
    const four s = {own[0], other[1], other[2], own[3]};
    std::memcpy(S, &s, sizeof s);
  } else {
    const PairSoftmax p(z);
    S[0] = p.own[0];
    S[1] = p.other[0];
    S[2] = p.other[1];
    S[3] = p.own[1];
  }
}

inline void softmax_rows(const double* z, int L, double* S) {
  const auto [low, high] = std::minmax_element(z, z + L);
  for (int l = 0; l < L; ++l) {
    double* row = S + std::size_t(l) * L;
    const double c = 1 / softmax_row(z, L, z[l], *low, *high, row).sum;
    for (int k = 0; k < L; ++k) row[k] *= c;
  }
}

// S (L x L, row-major) of the fields z.
SEQSGD_INLINE void softmax_matrix(const double* z, int L, double* S) {
  if (L == 2)
    softmax_two(z, S);
  else
    softmax_rows(z, L, S);
}

// delta_i = d/dz_i of sum_lk D_lk S_lk(z).
inline void softmax_matrix_backward(const double* z, int L, const double* S, const double* D,
                                    double* delta) {
  if (L == 2) {  // through the one score difference of each row
    const double a = S[0] * S[1] * (D[1] - D[0]), b = S[2] * S[3] * (D[3] - D[2]);
    delta[0] = a * (z[1] - 2 * z[0]) - b * z[1];
    delta[1] = a * z[0] + b * (2 * z[1] - z[0]);
    return;
  }
  std::fill_n(delta, L, 0.0);
  for (int l = 0; l < L; ++l) {
    const double *s = S + std::size_t(l) * L, *g = D + std::size_t(l) * L;
    double t = 0, own = 0;
    for (int k = 0; k < L; ++k) t += s[k] * g[k];
    for (int k = 0; k < L; ++k) {
      const double a = s[k] * (g[k] - t);  // d/d score
      own += a * z[k];
      delta[k] += a * z[l];
    }
    delta[l] += own;
  }
}

// (1/sqrt L) trace S and its gradient; e is scratch of L.
inline double softmax_trace(const double* z, int L, double* gradient, double* e,
                            bool direct = false) {
  if (L == 2 && !direct) {
    const PairSoftmax p(z);
    const simd::f64 h = p.own * p.other * sqrt_half;
    gradient[0] = h[0] * (2 * z[0] - z[1]) - h[1] * z[1];
    gradient[1] = h[1] * (2 * z[1] - z[0]) - h[0] * z[0];
    return (p.own[0] + p.own[1]) * sqrt_half;
  }
  if (double s; !direct && ExponentialSums::serves(z, L, s))
    return ExponentialSums::trace(z, L, s, gradient, e);
  const auto [low, high] = std::minmax_element(z, z + L);
  const double scale = 1 / std::sqrt(double(L));
  double f = 0;
  std::fill_n(gradient, L, 0.0);
  for (int l = 0; l < L; ++l) {
    const SoftmaxRow r = softmax_row(z, L, z[l], *low, *high, e);
    const double c = 1 / r.sum, s = e[l] * c, a = scale * s;
    f += s;
    const double b = a * z[l] * c;
    for (int k = 0; k < L; ++k) gradient[k] -= b * e[k];
    gradient[l] += a * (z[l] + ((z[l] - r.end) - r.dot * c));
  }
  return f * scale;
}

// a^T S b and its gradient; e is scratch of L.
inline double softmax_bilinear(const double* z, int L, const double* a, const double* b,
                               double* gradient, double* e) {
  const auto [low, high] = std::minmax_element(z, z + L);
  double f = 0;
  std::fill_n(gradient, L, 0.0);
  for (int l = 0; l < L; ++l) {
    const double c = 1 / softmax_row(z, L, z[l], *low, *high, e).sum;
    double r = 0, own = 0;
    for (int k = 0; k < L; ++k) r += e[k] * b[k];
    r *= c;
    f += a[l] * r;
    for (int k = 0; k < L; ++k) {
      const double g = a[l] * c * e[k] * (b[k] - r);
      own += g * z[k];
      gradient[k] += g * z[l];
    }
    gradient[l] += own;
  }
  return f;
}

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
