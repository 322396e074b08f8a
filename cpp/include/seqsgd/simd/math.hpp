// Elementary functions for double and for vectors of doubles from one source, so that a task gives
// the same values one at a time or in lanes.
#pragma once

#include <type_traits>

#include "seqsgd/simd/pack.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

template <class V>
struct Bits {  // a vector of doubles, of any length
  typedef std::uint64_t type __attribute__((vector_size(sizeof(V))));
};
template <>
struct Bits<double> {
  using type = std::uint64_t;
};
template <class H>
struct Bits<Pair<H>> {
  using type = Pair<typename Bits<H>::type>;
};
// The bits of a number as another, of several vectors too.
template <class To, class From>
SEQSGD_INLINE To bits_as(const From& x) {
  if constexpr (IsPair<To>::value)
    return {bits_as<typename To::Half>(x.lo), bits_as<typename To::Half>(x.hi)};
  else
    return simd::bits<To>(x);
}

// What a number or a vector of numbers is made of.
template <class V>
struct Element {
  using type = std::decay_t<decltype(V{}[0])>;
};
template <>
struct Element<double> {
  using type = double;
};
template <>
struct Element<float> {
  using type = float;
};

// f(k), with the usual small k known to the compiler.
template <class F>
SEQSGD_INLINE auto with_length(int k, F f) {
  if (k == 1) return f(std::integral_constant<int, 1>{});
  if (k == 4) return f(std::integral_constant<int, 4>{});
  return f(k);
}

// exp to about 1 ulp for |x| < 708; beyond, the result saturates at exp(+-708) (about 3e307 and
// 3e-308) instead of overflowing.
template <class V>
SEQSGD_INLINE V exp(V x) {
  using I = typename Bits<V>::type;
  const V below = choose(x > 708.0, V{} + 708.0, x);
  x = choose(x < -708.0, V{} - 708.0, below);
  const V magic = V{} + 0x1.8p52;
  const V t = x * 1.44269504088896340736 + magic, n = t - magic;
  const V r = (x - n * 6.93147180369123816490e-01) - n * 1.90821492927058770002e-10;
  // The polynomial in pairs of terms: its latency counts more than its few more operations.
  const V q = r * r, q2 = q * q;
  const V a = (r * 0.16666666666666667452 + 0.5) +
              q * (r * 0.0083333333333300644495 + 0.041666666666624161903);
  const V b = (r * 0.00019841269863040545271 + 0.0013888888917196719077) +
              q * (r * 2.7557268480310025526e-6 + 0.000024801521322368693266);
  const V c = r * 2.5100375832561233664e-8 + 2.7620075879983366586e-7;
  const V p = 1.0 + (r + q * (a + q2 * (b + q2 * c)));
  return bits_as<V>(bits_as<I>(p) + (bits_as<I>(t) << 52));
}

// (1 + x)^(-1/2) - 1, the first `Terms` terms of its series: to rounding, relative to the result,
// for 5 and |x| <= 2^-12, for 7 and |x| <= 2^-8 and for 9 and |x| <= 2^-6; in single precision for
// 3 and |x| <= 2^-8 and for 4 and |x| <= 2^-6.
template <int Terms, class V>
SEQSGD_INLINE V inverse_root_less_one(V x) {
  using E = typename Element<V>::type;
  constexpr double c[] = {-1.0 / 2,     3.0 / 8,       -5.0 / 16,      35.0 / 128,      -63.0 / 256,
                          231.0 / 1024, -429.0 / 2048, 6435.0 / 32768, -12155.0 / 65536};
  V p = V{} + E(c[Terms - 1]);
  for (int k = Terms - 2; k >= 0; --k) p = p * x + E(c[k]);
  return x * p;
}

// 1 / (1 + sqrt(1 + y)), the first `Terms` terms of its series: to rounding for 5 and 0 <= y <=
// 2^-12; in single precision for 3 and 0 <= y <= 2^-8.
template <int Terms = 5, class V>
SEQSGD_INLINE V one_over_one_plus_root(V y) {
  using E = typename Element<V>::type;
  constexpr double c[] = {1.0 / 2, -1.0 / 8, 1.0 / 16, -5.0 / 128, 7.0 / 256};
  V p = V{} + E(c[Terms - 1]);
  for (int k = Terms - 2; k >= 0; --k) p = p * y + E(c[k]);
  return p;
}

// Probabilists' Hermite polynomial He_k.
template <class V>
SEQSGD_INLINE V hermite(int k, V x) {
  V a = V{} + 1.0, b = x;
  if (k == 0) return a;
  for (int j = 1; j < k; ++j) {
    const V c = x * b - a * double(j);
    a = b;
    b = c;
  }
  return b;
}

SEQSGD_INLINE double root(double x) { return std::sqrt(x); }
SEQSGD_INLINE simd::f64 root(simd::f64 x) { return simd::sqrt(x); }
template <class H>
SEQSGD_INLINE Pair<H> root(const Pair<H>& x) {
  return {root(x.lo), root(x.hi)};
}

// Of what rounding may have made less than 0.
SEQSGD_INLINE double sqrt_nonneg(double x) { return x < 0 ? 0 : std::sqrt(x); }
template <class V>
SEQSGD_INLINE V sqrt_nonneg(const V& x) {
  return each_vector(
      x, [](auto v) SEQSGD_LAMBDA_INLINE { return simd::sqrt(simd::at_least_zero(v)); });
}

template <class V>
SEQSGD_INLINE V absolute(V x) {
  if constexpr (sizeof(typename Element<V>::type) == 4) {
    return bits_as<V>(bits_as<simd::u32>(x) & 0x7FFFFFFFu);
  } else {
    using I = typename Bits<V>::type;
    return bits_as<V>(bits_as<I>(x) & ~(std::uint64_t(1) << 63));
  }
}

inline constexpr double sqrt_half = 0.70710678118654752440;

// h2 = He_2 / sqrt 2
template <class V>
SEQSGD_INLINE V h2(V x) {
  return (x * x - 1.0) * sqrt_half;
}

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
