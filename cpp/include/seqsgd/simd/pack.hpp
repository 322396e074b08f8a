// Runs side by side, a double of each: several vectors used as one number. Their chains of
// operations are independent and hide each other's latency.
#pragma once

#include <type_traits>

#include "seqsgd/simd/simd.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

// Pair vectors (or two of two) as one.
template <class H>
struct Pair {
  using Half = H;
  using E = std::decay_t<decltype(std::declval<H>()[0])>;
  H lo, hi;
  // Written out: a copy that is left to the compiler may go in pieces narrower than what reads it
  // next, which the processor waits for.
  Pair() = default;
  SEQSGD_INLINE Pair(const H& a, const H& b) : lo(a), hi(b) {}
  SEQSGD_INLINE Pair(const Pair& x) : lo(x.lo), hi(x.hi) {}
  SEQSGD_INLINE Pair& operator=(const Pair& x) {
    lo = x.lo;
    hi = x.hi;
    return *this;
  }
  static constexpr int half_size = int(sizeof(H) / sizeof(E)), size = 2 * half_size;
  E operator[](Index i) const { return i < half_size ? lo[i] : hi[i - half_size]; }
  E& operator[](Index i) { return reinterpret_cast<E*>(this)[i]; }
};

template <class V>
struct IsPair : std::false_type {};
template <class H>
struct IsPair<Pair<H>> : std::true_type {};

// N vectors V, N a power of two.
template <int N, class V>
struct JoinedOf {
  using type = Pair<typename JoinedOf<N / 2, V>::type>;
};
template <class V>
struct JoinedOf<1, V> {
  using type = V;
};
template <int N, class V>
using Joined = typename JoinedOf<N, V>::type;

#define SEQSGD_OPERATOR(op)                                                        \
  template <class H>                                                               \
  SEQSGD_INLINE auto operator op(const Pair<H>& a, const Pair<H>& b) {             \
    return Pair<std::decay_t<decltype(a.lo op b.lo)>>{a.lo op b.lo, a.hi op b.hi}; \
  }                                                                                \
  template <class H, class S, class = std::enable_if_t<std::is_arithmetic_v<S>>>   \
  SEQSGD_INLINE auto operator op(const Pair<H>& a, S b) {                          \
    return Pair<std::decay_t<decltype(a.lo op b)>>{a.lo op b, a.hi op b};          \
  }                                                                                \
  template <class H, class S, class = std::enable_if_t<std::is_arithmetic_v<S>>>   \
  SEQSGD_INLINE auto operator op(S a, const Pair<H>& b) {                          \
    return Pair<std::decay_t<decltype(a op b.lo)>>{a op b.lo, a op b.hi};          \
  }
SEQSGD_OPERATOR(+)
SEQSGD_OPERATOR(-)
SEQSGD_OPERATOR(*)
SEQSGD_OPERATOR(/)
SEQSGD_OPERATOR(&)
SEQSGD_OPERATOR(|)
SEQSGD_OPERATOR(^)
SEQSGD_OPERATOR(<<)
SEQSGD_OPERATOR(>>)
#undef SEQSGD_OPERATOR

// What a comparison gives. (Compilers differ in the name of its elements.)
template <class V>
struct MaskOf {
  using type = simd::Vec<std::conditional_t<sizeof(V{}[0]) == 4, std::int32_t, std::int64_t>>;
};
template <class H>
struct MaskOf<Pair<H>> {
  using type = Pair<typename MaskOf<H>::type>;
};
#define SEQSGD_COMPARISON(op)                                             \
  template <class H, class M = typename MaskOf<H>::type>                  \
  SEQSGD_INLINE Pair<M> operator op(const Pair<H>& a, const Pair<H>& b) { \
    return {M(a.lo op b.lo), M(a.hi op b.hi)};                            \
  }                                                                       \
  template <class H, class S, class M = typename MaskOf<H>::type,         \
            class = std::enable_if_t<std::is_arithmetic_v<S>>>            \
  SEQSGD_INLINE Pair<M> operator op(const Pair<H>& a, S b) {              \
    return {M(a.lo op b), M(a.hi op b)};                                  \
  }
SEQSGD_COMPARISON(<)
SEQSGD_COMPARISON(>)
SEQSGD_COMPARISON(<=)
SEQSGD_COMPARISON(>=)
SEQSGD_COMPARISON(==)
#undef SEQSGD_COMPARISON

#define SEQSGD_ASSIGNMENT(op)                                        \
  template <class H, class S>                                        \
  SEQSGD_INLINE Pair<H>& operator op## = (Pair<H> & a, const S& b) { \
    return a = a op b;                                               \
  }
SEQSGD_ASSIGNMENT(+)
SEQSGD_ASSIGNMENT(-)
SEQSGD_ASSIGNMENT(*)
SEQSGD_ASSIGNMENT(&)
SEQSGD_ASSIGNMENT(|)
SEQSGD_ASSIGNMENT(^)
#undef SEQSGD_ASSIGNMENT

template <class H>
SEQSGD_INLINE Pair<H> operator-(const Pair<H>& a) {
  return {-a.lo, -a.hi};
}
template <class H>
SEQSGD_INLINE Pair<H> operator~(const Pair<H>& a) {
  return {~a.lo, ~a.hi};
}

// a where the mask holds, b elsewhere.
template <class M, class V>
SEQSGD_INLINE V choose(const M& mask, const V& a, const V& b) {
  if constexpr (IsPair<V>::value)
    return {choose(mask.lo, a.lo, b.lo), choose(mask.hi, a.hi, b.hi)};
  else
    return mask ? a : b;
}

// f of every vector.
template <class V, class F>
SEQSGD_INLINE auto each_vector(const V& x, F f) {
  if constexpr (IsPair<V>::value) {
    auto lo = each_vector(x.lo, f), hi = each_vector(x.hi, f);
    return Pair<decltype(lo)>{lo, hi};
  } else {
    return f(x);
  }
}
// Their number, and the k-th.
template <class V>
inline constexpr int vectors_in = 1;
template <class H>
inline constexpr int vectors_in<Pair<H>> = 2 * vectors_in<H>;
template <class V>
SEQSGD_INLINE auto& vector_of(V& x, int k) {
  if constexpr (IsPair<std::remove_const_t<V>>::value)
    return vector_of(k < vectors_in<std::remove_const_t<V>> / 2 ? x.lo : x.hi,
                     k % (vectors_in<std::remove_const_t<V>> / 2));
  else
    return x;
}

// One lane (or the number itself) holds; all do.
SEQSGD_INLINE bool any(bool mask) { return mask; }
SEQSGD_INLINE bool any(simd::i64 mask) { return simd::any(mask); }
SEQSGD_INLINE bool any(simd::i32 mask) { return simd::any(mask); }
template <class H>
SEQSGD_INLINE bool any(const Pair<H>& mask) {
  return any(mask.lo | mask.hi);
}
SEQSGD_INLINE bool all(simd::i64 mask) { return simd::all(mask); }
SEQSGD_INLINE bool all(simd::i32 mask) { return simd::all(mask); }
template <class H>
SEQSGD_INLINE bool all(const Pair<H>& mask) {
  return all(mask.lo & mask.hi);
}
using simd::all_within;
using simd::no_contract;
template <class H>
SEQSGD_INLINE Pair<H> no_contract(const Pair<H>& x) {
  return {no_contract(x.lo), no_contract(x.hi)};
}
template <class H>
SEQSGD_INLINE bool all_within(const Pair<H>& x, const Pair<H>& bound) {
  return all_within(x.lo, bound.lo) && all_within(x.hi, bound.hi);
}

inline constexpr int pack_vectors = 2;  // vectors of doubles to a pack: as many runs
                                        // as one vector of floats has
using Pack = Joined<pack_vectors, simd::f64>;
using PackMask = Joined<pack_vectors, simd::i64>;
// The same runs in the precision T.
template <class T>
using PackOf = Joined<pack_vectors* int(sizeof(T)) / 8, simd::Vec<T>>;

// Runs in double precision, and back in that of their draws.
SEQSGD_INLINE Pack widened(const Pack& x) { return x; }
SEQSGD_INLINE Pack narrowed(const Pack& x, double) { return x; }
// (GCC takes the halves through memory where it is not told how.)
SEQSGD_INLINE Pair<simd::f64> widened(simd::f32 x) {
#if defined(SEQSGD_AVX512)
  return {simd::bits<simd::f64>(_mm512_cvtps_pd(_mm512_castps512_ps256(simd::bits<__m512>(x)))),
          simd::bits<simd::f64>(_mm512_cvtps_pd(_mm512_extractf32x8_ps(simd::bits<__m512>(x), 1)))};
#elif defined(SEQSGD_AVX2)
  return {simd::bits<simd::f64>(_mm256_cvtps_pd(_mm256_castps256_ps128(simd::bits<__m256>(x)))),
          simd::bits<simd::f64>(_mm256_cvtps_pd(_mm256_extractf128_ps(simd::bits<__m256>(x), 1)))};
#else
  typedef float half __attribute__((vector_size(simd::bytes / 2)));
  half h[2];
  std::memcpy(h, &x, sizeof x);
  return {__builtin_convertvector(h[0], simd::f64), __builtin_convertvector(h[1], simd::f64)};
#endif
}
SEQSGD_INLINE simd::f32 narrowed(const Pair<simd::f64>& x, float) {
#if defined(SEQSGD_AVX512)
  return simd::bits<simd::f32>(
      _mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtpd_ps(simd::bits<__m512d>(x.lo))),
                         _mm512_cvtpd_ps(simd::bits<__m512d>(x.hi)), 1));
#elif defined(SEQSGD_AVX2)
  return simd::bits<simd::f32>(
      _mm256_insertf128_ps(_mm256_castps128_ps256(_mm256_cvtpd_ps(simd::bits<__m256d>(x.lo))),
                           _mm256_cvtpd_ps(simd::bits<__m256d>(x.hi)), 1));
#else
  typedef float half __attribute__((vector_size(simd::bytes / 2)));
  const half h[2] = {__builtin_convertvector(x.lo, half), __builtin_convertvector(x.hi, half)};
  simd::f32 out;
  std::memcpy(&out, h, sizeof out);
  return out;
#endif
}

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
