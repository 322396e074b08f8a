// Vectors and standard normals of the bare loop: what the instruction set gives, as few operations
// as float32 accuracy allows.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace {

// ------------------------------------------------ vectors: arithmetic by the compiler's vector
// types, the rest by intrinsics
#if defined(__AVX512F__) && defined(__AVX512DQ__)
#define LEVEL "avx512"
constexpr int W = 16;
#elif defined(__AVX2__) && defined(__FMA__)
#define LEVEL "avx2"
constexpr int W = 8;
#else
#define LEVEL "generic"
constexpr int W = 4;
#endif
typedef float F __attribute__((vector_size(4 * W)));
typedef float Fu __attribute__((vector_size(4 * W), aligned(4), may_alias));
typedef std::uint32_t U __attribute__((vector_size(4 * W)));
typedef std::int32_t I __attribute__((vector_size(4 * W)));

#define INLINE inline __attribute__((always_inline))
template <class To, class From>
INLINE To bits(From x) {
  static_assert(sizeof(To) == sizeof(From));
  To r;
  std::memcpy(&r, &x, sizeof r);
  return r;
}
INLINE F load(const float* p) { return *reinterpret_cast<const Fu*>(p); }
INLINE void store(float* p, F x) { *reinterpret_cast<Fu*>(p) = x; }
INLINE F masked(F x, I mask) { return bits<F>(bits<I>(x) & mask); }

#if defined(__AVX512F__) && defined(__AVX512DQ__)
template <int K>
INLINE U rotl(U x) {
  return bits<U>(_mm512_rol_epi32(bits<__m512i>(x), K));
}
INLINE F unit_open(U u) {
  return bits<F>(_mm512_cvtepu32_ps(bits<__m512i>(u))) * 0x1p-32f + 0x1p-34f;
}
INLINE F root(F s) { return bits<F>(_mm512_maskz_sqrt_ps(0xFFFF, bits<__m512>(s))); }
INLINE I nearest(F x) { return bits<I>(_mm512_cvtps_epi32(bits<__m512>(x))); }
INLINE float sum(F x) { return _mm512_reduce_add_ps(bits<__m512>(x)); }
#else
template <int K>
INLINE U rotl(U x) {
  return (x << K) | (x >> (32 - K));
}
INLINE F unit_open(U u) {
  return __builtin_convertvector(bits<I>(u >> 1), F) * 0x1p-31f + 0x1p-33f;
}
#if defined(__AVX2__)
INLINE F root(F s) { return bits<F>(_mm256_sqrt_ps(bits<__m256>(s))); }
INLINE I nearest(F x) { return bits<I>(_mm256_cvtps_epi32(bits<__m256>(x))); }
INLINE float sum(F x) {
  const __m256 v = bits<__m256>(x);
  __m128 t = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  t = _mm_add_ps(t, _mm_movehl_ps(t, t));
  return _mm_cvtss_f32(_mm_add_ss(t, _mm_movehdup_ps(t)));
}
#else
INLINE F root(F s) {
  for (int j = 0; j < W; ++j) s[j] = std::sqrt(s[j]);
  return s;
}
INLINE I nearest(F x) {
  I r;
  for (int j = 0; j < W; ++j) r[j] = std::int32_t(std::lrint(x[j]));
  return r;
}
INLINE float sum(F x) { return (x[0] + x[1]) + (x[2] + x[3]); }
#endif
#endif

// e^x to 1e-7; the argument is cut at +-87.
INLINE F exponential(F x) {
  x = x < -87.0f ? F{} - 87.0f : x;
  x = x > 87.0f ? F{} + 87.0f : x;
  const I k = nearest(x * 1.44269504f);
  const F r = x - __builtin_convertvector(k, F) * 0.693147181f;
  const F p = ((((r * 0.00829765555f + 0.0419153820f) * r + 0.166675747f) * r + 0.499988949f) * r +
               0.999999692f) *
                  r +
              1.00000007f;
  return bits<F>(bits<I>(p) + (k << 23));
}

// ---------------------------------------------------------------- standard normals: xoshiro128++
// in W lanes, Box-Muller
struct Generator {
  U s0, s1, s2, s3;
  explicit Generator(std::uint64_t x) {
    std::uint32_t w[4][W];
    for (auto& row : w)
      for (auto& word : row) {  // SplitMix64
        std::uint64_t z = x += 0x9E3779B97F4A7C15u;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
        word = std::uint32_t((z ^ (z >> 31)) >> 32) | 1u;
      }
    std::memcpy(&s0, w[0], sizeof s0);
    std::memcpy(&s1, w[1], sizeof s1);
    std::memcpy(&s2, w[2], sizeof s2);
    std::memcpy(&s3, w[3], sizeof s3);
  }
  INLINE U next() {
    const U r = rotl<7>(s0 + s3) + s0, t = s1 << 9;
    s2 ^= s0;
    s3 ^= s1;
    s1 ^= s2;
    s0 ^= s3;
    s2 ^= t;
    s3 = rotl<11>(s3);
    return r;
  }
  // Two vectors of normals. The angle covers half a turn, a random bit gives the other half.
  INLINE void pair(F& g, F& h) {
    const U u = next(), v = next();
    const F x = unit_open(u);
    const I e = (bits<I>(x) - 0x3F3504F3) >> 23;
    const F f = bits<F>(bits<I>(x) - (e << 23)) - 1.0f;
    F p = f * 0.202138046f - 0.324451657f;
    p = p * f + 0.345016572f;
    p = p * f - 0.398003303f;
    p = p * f + 0.499398182f;
    p = p * f - 0.666701179f;
    p = p * f + 1.0000073f;
    p = p * f - 1.99999989f;
    const F r = root(p * f + __builtin_convertvector(e, F) * -1.38629436f);
    const F t = __builtin_convertvector(bits<I>(v), F) * 0x1p-31f, q = t * t;
    F s = q * 0.000150822638f - 0.00467223292f;
    s = s * q + 0.0796884847f;
    s = s * q - 0.645963361f;
    s = (s * q + 1.57079629f) * t;
    F c = q * 0.000858190618f - 0.0208106275f;
    c = c * q + 0.253650745f;
    c = c * q - 1.23369821f;
    c = c * q + 0.999999953f;
    g = r * s;
    h = bits<F>(bits<U>(r) ^ (v << 31)) * c;
  }
};
constexpr int unit = 2 * W;  // normals of one draw

}  // namespace
