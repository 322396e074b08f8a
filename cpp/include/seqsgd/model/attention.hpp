// Softmax attention of one head of dimension one: S_lk = exp(z_l z_k) / sum_j exp(z_l z_j), and its
// reductions to an output. The number type V is double or a pack of runs. For double, what has many
// tokens is vectorised over tokens instead: a row here, and whole traces in exponential_sums.hpp.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
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

// Up to here a pack of runs is faster than the tokens of one run after the other.
inline constexpr int few_tokens = 47;

// The ends of the range of z, one of which has the largest of the scores z_l z_k.
template <class V>
struct FieldRange {
  V low, high;
  SEQSGD_INLINE FieldRange(const V* z, int L) : low(z[0]), high(z[0]) {
    for (int l = 1; l < L; ++l) {
      low = choose(z[l] < low, z[l], low);
      high = choose(z[l] > high, z[l], high);
    }
  }
  SEQSGD_INLINE V end(V zl) const { return choose(zl > 0.0, high, low); }
};

// Row l of S before division: e_k = exp(z_l z_k - z_l end), with the sums of e_k and of e_k (z_k -
// end). Written (z_k - end) z_l, the exponent is 0 at the largest score and has two roundings
// elsewhere; z_k z_l - top would lose what separates scores that are large.
template <class V>
struct SoftmaxRow {
  V sum, dot, end;
};
template <class V>
SEQSGD_INLINE SoftmaxRow<V> softmax_row(const V* z, int L, V zl, const FieldRange<V>& range, V* e) {
  SoftmaxRow<V> r{V{}, V{}, range.end(zl)};
  int k = 0;
  if constexpr (std::is_same_v<V, double>) {
    using namespace simd;
    constexpr int w = width<double>;
    f64 s{}, h{};
    for (; k + w <= L; k += w) {
      const f64 x = load(z + k) - r.end, p = seqsgd::exp(x * zl);
      store(e + k, p);
      s += p;
      h += p * x;
    }
    r.sum = simd::sum<double>(s);
    r.dot = simd::sum<double>(h);
  }
  for (; k < L; ++k) {
    const V x = z[k] - r.end;
    e[k] = seqsgd::exp(x * zl);
    r.sum += e[k];
    r.dot += e[k] * x;
  }
  return r;
}

// Pair tokens: a row has one exponential, the ratio of its entries. own_l = S_ll, other_l = 1 -
// S_ll.
template <class V>
struct PairSoftmax {
  V own[2], other[2];
  SEQSGD_INLINE explicit PairSoftmax(const V* z) {
    const V d = z[1] - z[0], a = seqsgd::exp(z[0] * d), b = seqsgd::exp(-(z[1] * d));
    const V p = 1.0 + a, q = 1.0 + b,
            c = 1.0 / (p * q);  // one division for both; the exponentials saturate far below the
                                // square root of the largest double
    own[0] = q * c;
    own[1] = p * c;
    other[0] = a * own[0];
    other[1] = b * own[1];
  }
};
// Of one run: both rows as two lanes of a vector, which is faster, and rounds in another way.
template <>
struct PairSoftmax<double> {
  simd::f64 own, other;
  SEQSGD_INLINE explicit PairSoftmax(const double* z) {
    simd::f64 x{};
    x[0] = z[0] * (z[1] - z[0]);
    x[1] = z[1] * (z[0] - z[1]);
    const simd::f64 ratio = seqsgd::exp(x);
    own = 1.0 / (1.0 + ratio);
    other = ratio * own;
  }
};

// S of two tokens.
template <class V>
SEQSGD_INLINE void softmax_two(const V* z, V* S) {
  if constexpr (std::is_same_v<V, double> && simd::has_four) {
    // as PairSoftmax, every row twice: S leaves as one vector
    using four = simd::four;
    const four a = {z[0], z[0], z[1], z[1]}, b = {z[1], z[1], z[0], z[0]},
               ratio = seqsgd::exp(a * (b - a)), own = 1.0 / (1.0 + ratio), other = ratio * own;
    const four s = {own[0], other[1], other[2], own[3]};
    std::memcpy(S, &s, sizeof s);
  } else {
    const PairSoftmax<V> p(z);
    S[0] = p.own[0];
    S[1] = p.other[0];
    S[2] = p.other[1];
    S[3] = p.own[1];
  }
}

template <class V>
inline void softmax_rows(const V* z, int L, V* S) {
  const FieldRange<V> range(z, L);
  for (int l = 0; l < L; ++l, S += L) {
    const V c = 1.0 / softmax_row(z, L, z[l], range, S).sum;
    for (int k = 0; k < L; ++k) S[k] *= c;
  }
}

// S (L x L, row-major) of the fields z.
template <class V>
SEQSGD_INLINE void softmax_matrix(const V* z, int L, V* S) {
  if (L == 2)
    softmax_two(z, S);
  else
    softmax_rows(z, L, S);
}

// delta_i = d/dz_i of sum_lk D_lk S_lk(z).
template <class V>
inline void softmax_matrix_backward(const V* z, int L, const V* S, const V* D, V* delta) {
  if (L == 2) {  // through the one score difference of each row
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

// (1/sqrt L) trace S and its gradient; e is scratch of L. by_rows: without exponential_sums.hpp.
template <class V>
inline V softmax_trace(const V* z, int L, V* gradient, V* e, bool by_rows = false) {
  if (L == 2 && !by_rows) {
    const PairSoftmax<V> p(z);
    const V a = p.own[0] * p.other[0] * sqrt_half, b = p.own[1] * p.other[1] * sqrt_half;
    gradient[0] = a * (2.0 * z[0] - z[1]) - b * z[1];
    gradient[1] = b * (2.0 * z[1] - z[0]) - a * z[0];
    return (p.own[0] + p.own[1]) * sqrt_half;
  }
  if constexpr (std::is_same_v<V, double>)
    if (double s; !by_rows && ExponentialSums::serves(z, L, s))
      return ExponentialSums::trace(z, L, s, gradient, e);
  const FieldRange<V> range(z, L);
  const double scale = 1 / std::sqrt(double(L));
  V f{};
  for (int l = 0; l < L; ++l) gradient[l] = V{};
  for (int l = 0; l < L; ++l) {
    const SoftmaxRow<V> r = softmax_row(z, L, z[l], range, e);
    const V c = 1.0 / r.sum, s = e[l] * c, a = scale * s, b = a * z[l] * c;
    f += s;
    for (int k = 0; k < L; ++k) gradient[k] -= b * e[k];
    gradient[l] += a * (z[l] + ((z[l] - r.end) - r.dot * c));
  }
  return f * scale;
}

// a^T S b and its gradient; e is scratch of L.
template <class V>
inline V softmax_bilinear(const V* z, int L, const double* a, const double* b, V* gradient, V* e) {
  const FieldRange<V> range(z, L);
  V f{};
  for (int l = 0; l < L; ++l) gradient[l] = V{};
  for (int l = 0; l < L; ++l) {
    const V c = 1.0 / softmax_row(z, L, z[l], range, e).sum;
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

// R(S(z)) for one of the reductions R: the whole matrix, (1/sqrt L) trace S, or a^T S b.
class ReducedAttention {
 public:
  ReducedAttention(int L, Reduction r, std::vector<double> a, std::vector<double> b)
      : L_(L), r_(r), a_(std::move(a)), b_(std::move(b)) {
    if (r == Reduction::bilinear) check_bilinear(L, a_, b_);
  }
  static int outputs(Index L, Reduction r) { return r == Reduction::none ? matrix_size(L) : 1; }

  // f, and of one output its gradient; e is scratch of L.
  template <class V>
  SEQSGD_INLINE void forward(const V* z, V* f, V* gradient, V* e) const {
    if (r_ == Reduction::none) softmax_matrix(z, L_, f);
    if (r_ == Reduction::trace) *f = softmax_trace(z, L_, gradient, e);
    if (r_ == Reduction::bilinear) *f = softmax_bilinear(z, L_, a_.data(), b_.data(), gradient, e);
  }
  // delta = (d f / d z)^T D.
  template <class V>
  SEQSGD_INLINE void backward(const V* z, const V* f, const V* D, const V* gradient,
                              V* delta) const {
    if (r_ == Reduction::none) return softmax_matrix_backward(z, L_, f, D, delta);
    for (int l = 0; l < L_; ++l) delta[l] = *D * gradient[l];
  }

 private:
  int L_;
  Reduction r_;
  std::vector<double> a_, b_;
};

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
