// Native vectors of the instruction set this translation unit is compiled for.
//
// GCC and Clang give arithmetic, comparison and selection on vector types; the few operations they
// do not spell (square root, maximum, masked tails) are written per instruction set below.
#pragma once

#include <cmath>
#include <cstring>
#include <memory>
#include <new>
#include <vector>

#include "seqsgd/simd/level.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

// Vectors that share no cache line with anything else, so that threads do not slow each other down.
template <class T>
struct LineAllocator {
  using value_type = T;
  static constexpr std::size_t line = 128;
  LineAllocator() = default;
  template <class S>
  LineAllocator(const LineAllocator<S>&) {}
  T* allocate(std::size_t n) {
    return static_cast<T*>(
        ::operator new((n * sizeof(T) + line - 1) / line * line, std::align_val_t(line)));
  }
  void deallocate(T* p, std::size_t) { ::operator delete(p, std::align_val_t(line)); }
  bool operator==(const LineAllocator&) const { return true; }
  bool operator!=(const LineAllocator&) const { return false; }
};
// A std::vector whose numbers of elements are signed.
template <class T, class Allocator = std::allocator<T>>
class Array : public std::vector<T, Allocator> {
  using Base = std::vector<T, Allocator>;

 public:
  Array() = default;
  explicit Array(Index n) : Base(std::size_t(n)) {}
  Array(Index n, const T& x) : Base(std::size_t(n), x) {}
  T& operator[](Index i) { return Base::data()[i]; }
  const T& operator[](Index i) const { return Base::data()[i]; }
  Index size() const { return Index(Base::size()); }
  void resize(Index n) { Base::resize(std::size_t(n)); }
  void assign(Index n, const T& x) { Base::assign(std::size_t(n), x); }
};
template <class T>
using LineVector = Array<T, LineAllocator<T>>;

namespace simd {

#if defined(SEQSGD_AVX512)
inline constexpr int bytes = 64;
#elif defined(SEQSGD_AVX2)
inline constexpr int bytes = 32;
#else
inline constexpr int bytes = 16;
#endif
// Whether a vector fills a cache line, and there are 32 of them: code for narrower ones must keep
// more chains of operations in step, and have fewer of them in sight.
inline constexpr bool widest = bytes == 64;
// Whether four doubles fit into a vector.
inline constexpr bool has_four = bytes >= 32;
typedef double four __attribute__((vector_size(32)));

template <class T>
struct Native {
  typedef T type __attribute__((vector_size(bytes)));
  typedef T loose __attribute__((vector_size(bytes), aligned(alignof(T)), may_alias));
};
template <class T>
using Vec = typename Native<T>::type;

template <class T>
inline constexpr int width = bytes / int(sizeof(T));

using f32 = Vec<float>;
using f64 = Vec<double>;
using i32 = Vec<std::int32_t>;
using u32 = Vec<std::uint32_t>;
using i64 = Vec<std::int64_t>;
using u64 = Vec<std::uint64_t>;

template <class To, class From>
SEQSGD_INLINE To bits(From x) {
  static_assert(sizeof(To) == sizeof(From));
  To r;
  std::memcpy(&r, &x, sizeof r);
  return r;
}

template <class T>
SEQSGD_INLINE Vec<T> broadcast(T x) {
  return Vec<T>{} + x;
}
template <class T>
SEQSGD_INLINE Vec<T> load(const T* p) {
  return *reinterpret_cast<const typename Native<T>::loose*>(p);
}
template <class T>
SEQSGD_INLINE void store(T* p, Vec<T> x) {
  *reinterpret_cast<typename Native<T>::loose*>(p) = x;
}

// The first n of a vector's elements from unaligned memory, zero beyond; reads nothing past p + n.
template <class T>
SEQSGD_INLINE Vec<T> load_first(const T* p, int n) {
  Vec<T> r{};
#if defined(SEQSGD_AVX512)
  if constexpr (sizeof(T) == 4)
    r = bits<Vec<T>>(_mm512_maskz_loadu_ps(__mmask16((1u << n) - 1u), p));
  else
    r = bits<Vec<T>>(_mm512_maskz_loadu_pd(__mmask8((1u << n) - 1u), p));
#else
  for (int i = 0; i < n; ++i) r[i] = p[i];
#endif
  return r;
}

// As many T as a vector has doubles, from unaligned memory, as doubles.
template <class T>
SEQSGD_INLINE f64 load_doubles(const T* p) {
  typedef T part
      __attribute__((vector_size(width<double> * sizeof(T)), aligned(alignof(T)), may_alias));
  return __builtin_convertvector(*reinterpret_cast<const part*>(p), f64);
}

// Zero from the n-th element on.
SEQSGD_INLINE f32 keep_first(f32 x, int n) {
  i32 at;
  for (int i = 0; i < width<float>; ++i) at[i] = i;
  return bits<f32>(bits<i32>(x) & (at < n));
}
SEQSGD_INLINE f64 keep_first(f64 x, int n) {
  i64 at;
  for (int i = 0; i < width<double>; ++i) at[i] = i;
  return bits<f64>(bits<i64>(x) & (at < std::int64_t(n)));
}

SEQSGD_INLINE f32 to_float(i32 x) { return __builtin_convertvector(x, f32); }

SEQSGD_INLINE f32 sqrt(f32 x) {
#if defined(SEQSGD_AVX512)
  return bits<f32>(_mm512_maskz_sqrt_ps(__mmask16(-1),
                                        bits<__m512>(x)));  // the plain form warns in GCC's header
#elif defined(SEQSGD_AVX2)
  return bits<f32>(_mm256_sqrt_ps(bits<__m256>(x)));
#elif defined(__x86_64__)
  return bits<f32>(_mm_sqrt_ps(bits<__m128>(x)));
#else
  for (int i = 0; i < width<float>; ++i) x[i] = std::sqrt(x[i]);
  return x;
#endif
}

SEQSGD_INLINE f64 sqrt(f64 x) {
#if defined(SEQSGD_AVX512)
  return bits<f64>(_mm512_maskz_sqrt_pd(__mmask8(-1), bits<__m512d>(x)));
#elif defined(SEQSGD_AVX2)
  return bits<f64>(_mm256_sqrt_pd(bits<__m256d>(x)));
#elif defined(__x86_64__)
  return bits<f64>(_mm_sqrt_pd(bits<__m128d>(x)));
#else
  for (int i = 0; i < width<double>; ++i) x[i] = std::sqrt(x[i]);
  return x;
#endif
}

// x, or 0 where it is less; a NaN stays.
SEQSGD_INLINE f32 at_least_zero(f32 x) {
#if defined(SEQSGD_AVX512)
  return bits<f32>(_mm512_maskz_max_ps(__mmask16(-1), _mm512_setzero_ps(), bits<__m512>(x)));
#elif defined(SEQSGD_AVX2)
  return bits<f32>(_mm256_max_ps(_mm256_setzero_ps(), bits<__m256>(x)));
#else
  return x < 0.0f ? f32{} : x;
#endif
}
SEQSGD_INLINE f64 at_least_zero(f64 x) {
#if defined(SEQSGD_AVX512)
  return bits<f64>(_mm512_maskz_max_pd(__mmask8(-1), _mm512_setzero_pd(), bits<__m512d>(x)));
#elif defined(SEQSGD_AVX2)
  return bits<f64>(_mm256_max_pd(_mm256_setzero_pd(), bits<__m256d>(x)));
#else
  return x < 0.0 ? f64{} : x;
#endif
}

// x itself, as one number to the compiler: a product that no sum takes up without rounding it
// first. For code of which there are several copies, in which compilers are free to choose which of
// two products of a sum is fused with it.
template <class V>
SEQSGD_INLINE V no_contract(V x) {
#if defined(SEQSGD_AVX512)
  __asm__("" : "+v"(x));
#elif defined(__x86_64__)
  __asm__("" : "+x"(x));
#elif defined(__aarch64__)
  __asm__("" : "+w"(x));
#endif
  return x;
}

// Whether a comparison holds in any lane.
SEQSGD_INLINE bool any(i64 mask) {
#if defined(SEQSGD_AVX512)
  return _mm512_movepi64_mask(bits<__m512i>(mask)) != 0;
#elif defined(SEQSGD_AVX2)
  return _mm256_movemask_pd(bits<__m256d>(mask)) != 0;
#elif defined(__x86_64__)
  return _mm_movemask_pd(bits<__m128d>(mask)) != 0;
#else
  std::int64_t r = 0;
  for (int i = 0; i < width<double>; ++i) r |= mask[i];
  return r != 0;
#endif
}

SEQSGD_INLINE bool any(i32 mask) {
#if defined(SEQSGD_AVX512)
  return _mm512_movepi32_mask(bits<__m512i>(mask)) != 0;
#elif defined(SEQSGD_AVX2)
  return _mm256_movemask_ps(bits<__m256>(mask)) != 0;
#elif defined(__x86_64__)
  return _mm_movemask_ps(bits<__m128>(mask)) != 0;
#else
  std::int32_t r = 0;
  for (int i = 0; i < width<float>; ++i) r |= mask[i];
  return r != 0;
#endif
}

SEQSGD_INLINE bool all(i64 mask) {
#if defined(SEQSGD_AVX2)
  return _mm256_movemask_pd(bits<__m256d>(mask)) == 15;
#else
  return !any(~mask);
#endif
}
SEQSGD_INLINE bool all(i32 mask) {
#if defined(SEQSGD_AVX2)
  return _mm256_movemask_ps(bits<__m256>(mask)) == 255;
#else
  return !any(~mask);
#endif
}
// Whether all are at most their bound in size; no NaN is.
SEQSGD_INLINE bool all_within(const f32& x, const f32& bound) {
#if defined(SEQSGD_AVX512)  // (GCC makes a vector of a mask, and a mask of that again)
  return _mm512_cmp_ps_mask(_mm512_abs_ps(bits<__m512>(x)), bits<__m512>(bound), _CMP_NLE_UQ) == 0;
#else
  return all(bits<i32>((x <= bound) & (x >= -bound)));
#endif
}
SEQSGD_INLINE bool all_within(const f64& x, const f64& bound) {
#if defined(SEQSGD_AVX512)
  return _mm512_cmp_pd_mask(_mm512_abs_pd(bits<__m512d>(x)), bits<__m512d>(bound), _CMP_NLE_UQ) ==
         0;
#else
  return all(
      bits<i64>((x <= bound) & (x >= -bound)));  // (Clang's own mask has elements of another name)
#endif
}

// Sum of 2, 4 or 8 doubles by halves.
template <int Bytes, class V>
SEQSGD_INLINE double reduce(V x) {
  if constexpr (Bytes == 16) {
    return x[0] + x[1];
  } else {
    typedef double half __attribute__((vector_size(Bytes / 2)));
    half h[2];
    std::memcpy(h, &x, sizeof x);
    return reduce<Bytes / 2>(h[0] + h[1]);
  }
}

template <int Bytes, class V>
SEQSGD_INLINE double narrow(V x) {
  if constexpr (Bytes == 16) {
    typedef double wide __attribute__((vector_size(32)));
#if defined(SEQSGD_AVX512) || defined(SEQSGD_AVX2)
    return reduce<32>(
        bits<wide>(_mm256_cvtps_pd(bits<__m128>(x))));  // GCC would take the halves through memory
#else
    const wide y = __builtin_convertvector(
        x, wide);  // as an argument it would change the ABI, which Clang warns of
    f64 h[2];
    std::memcpy(h, &y, sizeof y);
    return reduce<16>(h[0] + h[1]);
#endif
  } else {
    typedef float half __attribute__((vector_size(Bytes / 2)));
    half h[2];
    std::memcpy(h, &x, sizeof x);
    return narrow<Bytes / 2>(h[0] + h[1]);
  }
}

// Sum of a vector's elements, to double.
template <class T>
SEQSGD_INLINE double sum(Vec<T> x) {
  if constexpr (sizeof(T) == 8) {
    return reduce<bytes>(x);
  } else {  // down to four in T, the rest in double
    return narrow<bytes>(x);
  }
}

}  // namespace simd
}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
