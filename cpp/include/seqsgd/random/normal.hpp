// Random streams and standard normals.
//
// A block of draws is addressed by (seed, stream, run, block): Philox4x32-10, a counter-based
// generator, turns the address into the state of sixteen xoshiro128++ lanes, which then run at
// vector speed. Whoever knows the address can start any block; nothing depends on threads or
// groups. Normals come in units of 32 numbers (Box-Muller on the two words of each lane) in one
// canonical order on every instruction set.
#pragma once

#include <array>
#include <stdexcept>
#include <string>
#include <type_traits>

#include "seqsgd/simd/rows.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

enum class Stream : std::uint32_t { teacher = 1, init = 2, position = 3, data = 4, noise = 5 };

// Philox4x32-10 (Salmon, Moraes, Dror, Shaw, SC 2011).
inline std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> c,
                                           std::array<std::uint32_t, 2> k) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = std::uint64_t(c[0]) * 0xD2511F53u,
                        p1 = std::uint64_t(c[2]) * 0xCD9E8D57u;
    c = {std::uint32_t(p1 >> 32) ^ c[1] ^ k[0], std::uint32_t(p1),
         std::uint32_t(p0 >> 32) ^ c[3] ^ k[1], std::uint32_t(p0)};
    k[0] += 0x9E3779B9u;
    k[1] += 0xBB67AE85u;
  }
  return c;
}

struct Address {
  std::uint64_t seed = 0;
  Stream stream = Stream::data;
  std::uint32_t run = 0;
  std::uint64_t block = 0;  // below 2^56
};

inline constexpr int generator_width = 16;  // of the generator, whatever the vector width

// xoshiro128++ (Blackman, Vigna 2019), one generator to a lane.
template <class V>
SEQSGD_INLINE V xoshiro(V& a, V& b, V& c, V& d) {
  const auto rotl = [](const V& x, int k)
                        SEQSGD_LAMBDA_INLINE { return (x << k) | (x >> (32 - k)); };
  const V r = rotl(a + d, 7) + a, t = b << 9;
  c ^= a;
  d ^= b;
  b ^= c;
  a ^= d;
  c ^= t;
  d = rotl(d, 11);
  return r;
}

// Sixteen xoshiro128++ generators side by side.
struct Xoshiro16 {
  static constexpr int groups = generator_width / simd::width<std::uint32_t>;
  simd::u32 s[4][groups];

  Xoshiro16() = default;
  explicit Xoshiro16(const Address& a) {
    alignas(64) std::uint32_t w[4][generator_width];
    for (int j = 0; j < generator_width; ++j) {
      const auto r = philox({std::uint32_t(j), std::uint32_t(a.block), a.run,
                             (std::uint32_t(a.stream) << 24) | std::uint32_t(a.block >> 32)},
                            {std::uint32_t(a.seed), std::uint32_t(a.seed >> 32)});
      for (int i = 0; i < 4; ++i) w[i][j] = r[i];
    }
    for (int i = 0; i < 4; ++i)
      for (int g = 0; g < groups; ++g) s[i][g] = simd::load(w[i] + g * simd::width<std::uint32_t>);
  }

  SEQSGD_INLINE simd::u32 next(int g) { return xoshiro(s[0][g], s[1][g], s[2][g], s[3][g]); }
};

// p_k = c_0 x_k^n + ... + c_n for several vectors in step: narrow vectors have so many instructions
// to a normal that only few fit into a processor's window, and it should find independent ones
// there.
template <class V, class E, int N, int K>
SEQSGD_INLINE void horner(const V (&x)[N], const E (&c)[K], V (&p)[N]) {
  for (int k = 0; k < N; ++k) p[k] = x[k] * c[0] + c[1];
  for (int i = 2; i < K; ++i)
    for (int k = 0; k < N; ++k) p[k] = p[k] * x[k] + c[i];
}

// One Box-Muller pair per lane: the radius of one word, turned by the angle of another. The angle
// is drawn in [-pi/2, pi/2); a bit of its word reflects it to the other half.
struct BoxMuller {
  // -2 ln u. float: the polynomials are Chebyshev fits, error below 5e-8 of the square root.
  template <int N>
  SEQSGD_INLINE static void minus_two_log(const simd::f32 (&u)[N], simd::f32 (&y)[N]) {
    using namespace simd;
    constexpr float log_c[] = {0.158054875448f,
                               -0.252446396985f,
                               0.259963675273f,
                               -0.284289918479f,
                               0.332825629262f,
                               -0.400020901883f,
                               0.500006128451f,
                               -0.666666614564f,
                               1.0f,
                               -2.0f};
    f32 f[N], p[N];
    i32 e[N];
    for (int k = 0; k < N; ++k) {
      const i32 b = bits<i32>(u[k]);
      e[k] = (b - 0x3F3504F3) >> 23;
      f[k] = bits<f32>(bits<u32>(b) - (bits<u32>(e[k]) << 23)) - 1.0f;
    }
    horner(f, log_c, p);
    for (int k = 0; k < N; ++k) y[k] = p[k] * f[k] + no_contract(to_float(e[k]) * -1.38629436112f);
  }
  // float: 31-bit radius, |z| <= 6.76.
  template <int N>
  SEQSGD_INLINE static void radius(const simd::u32 (&words)[N], simd::f32 (&r)[N]) {
    simd::f32 u[N], y[N];
    for (int k = 0; k < N; ++k)
      u[k] = simd::to_float(simd::bits<simd::i32>(words[k] >> 1)) * 0x1p-31f + 0x1p-33f;
    minus_two_log(u, y);
    for (int k = 0; k < N; ++k) r[k] = simd::sqrt(y[k]);
  }
  template <int N>
  SEQSGD_INLINE static void turn(const simd::f32 (&r)[N], const simd::u32 (&v)[N],
                                 simd::f32 (&g)[N], simd::f32 (&h)[N]) {
    using namespace simd;
    constexpr float sin_c[] = {0.00015167170366f, -0.00467414383815f, 0.0796899183290f,
                               -0.645963759584f, 1.57079632004f};
    constexpr float cos_c[] = {0.000858134467091f, -0.0208105151998f, 0.253650674423f,
                               -1.23369820062f, 0.999999953028f};
    f32 t[N], q[N], s[N], c[N];
    for (int k = 0; k < N; ++k) {
      t[k] = to_float(bits<i32>(v[k])) * 0x1p-31f;
      q[k] = t[k] * t[k];
    }
    horner(q, sin_c, s);
    horner(q, cos_c, c);
    for (int k = 0; k < N; ++k) {
      h[k] = bits<f32>(bits<u32>(r[k]) ^ (v[k] << 31)) * c[k];
      g[k] = r[k] * (s[k] * t[k]);
    }
  }

  template <int N>
  SEQSGD_INLINE static void minus_two_log(const simd::f64 (&u)[N], simd::f64 (&y)[N]) {
    using namespace simd;
    constexpr double log_c[] = {
        0.13262103674021809098, 0.13248763083460115888, 0.15387160926134079899,
        0.18181773738016305815, 0.22222222676929540265, 0.28571428568819126944,
        0.40000000000007493931, 0.66666666666666658387, 2.0};
    f64 a[N], w[N], p[N];
    i64 e[N];
    for (int k = 0; k < N; ++k) {
      const i64 b = bits<i64>(u[k]);
      e[k] = (b - 0x3FE6A09E667F3BCD) >> 52;
      const f64 m = bits<f64>(bits<u64>(b) - (bits<u64>(e[k]) << 52));
      a[k] = (m - 1.0) / (m + 1.0);
      w[k] = a[k] * a[k];
    }
    horner(w, log_c, p);
    for (int k = 0; k < N; ++k) {
      // The exponent is small: it becomes a double through the mantissa of 1.5 * 2^52.
      const f64 x = bits<f64>(bits<u64>(e[k]) + 0x4338000000000000u) - 0x1.8p52;
      y[k] = p[k] * a[k] * -2.0 + x * -1.38629436111989061883;
    }
  }
  // double: 52-bit radius and angle, |z| <= 8.57, error below 1e-15.
  template <int N>
  SEQSGD_INLINE static void radius(const simd::u64 (&words)[N], simd::f64 (&r)[N]) {
    simd::f64 u[N], y[N];
    for (int k = 0; k < N; ++k)
      u[k] = simd::bits<simd::f64>((words[k] >> 12) | one) - (1.0 - 0x1p-53);
    minus_two_log(u, y);
    for (int k = 0; k < N; ++k) r[k] = simd::sqrt(y[k]);
  }
  template <int N>
  SEQSGD_INLINE static void turn(const simd::f64 (&r)[N], const simd::u64 (&v)[N],
                                 simd::f64 (&g)[N], simd::f64 (&h)[N]) {
    using namespace simd;
    constexpr double sin_c[] = {-4.2502807923692643874e-14, 6.0642540263155524016e-12,
                                -6.6880036321567914638e-10, 5.6921726984781161244e-8,
                                -3.5988432342295585196e-6,  0.00016044118478709679188,
                                -0.0046817541353186476495,  0.079692626246167041961,
                                -0.64596409750624625356,    1.5707963267948966192};
    constexpr double cos_c[] = {-5.1251270107090761839e-13,  6.5623841967755842974e-11,
                                -6.3865610850537953519e-9,   4.7108744806670772315e-7,
                                -0.000025202042359954066437, 0.00091926027483591804651,
                                -0.020863480763352421318,    0.25366950790104797149,
                                -1.2337005501361698261,      1.0};
    f64 t[N], q[N], s[N], c[N];
    for (int k = 0; k < N; ++k) {
      t[k] = bits<f64>((v[k] >> 12) | one) * 2.0 - 3.0;
      q[k] = t[k] * t[k];
    }
    horner(q, sin_c, s);
    horner(q, cos_c, c);
    for (int k = 0; k < N; ++k) {
      h[k] = bits<f64>(bits<u64>(r[k]) ^ (v[k] << 63)) * c[k];
      g[k] = r[k] * (s[k] * t[k]);
    }
  }

 private:
  static constexpr std::uint64_t one = 0x3FF0000000000000u;
};

// Words of a unit of normals, in canonical order: those of the radii in the first half of out,
// those of the angles in the second.
SEQSGD_INLINE void draw_words(Xoshiro16& g, simd::u32 (&out)[draw_vectors<float>]) {
  for (int k = 0; k < Xoshiro16::groups; ++k) {
    out[k] = g.next(k);
    out[Xoshiro16::groups + k] = g.next(k);
  }
}
// Doubles take two words of a lane group as 64-bit lanes: four draws a group for twice two vectors.
SEQSGD_INLINE void draw_words(Xoshiro16& g, simd::u64 (&out)[draw_vectors<double>]) {
  for (int i = 0; i < 4; ++i)
    for (int k = 0; k < Xoshiro16::groups; ++k)
      out[i * Xoshiro16::groups + k] = simd::bits<simd::u64>(g.next(k));
}

template <class T>
using Words = std::conditional_t<sizeof(T) == 4, simd::u32, simd::u64>;

// One unit of normals, in canonical order across out[0..draw_vectors).
template <class T>
SEQSGD_INLINE void draw(Xoshiro16& g, simd::Vec<T> (&out)[draw_vectors<T>]) {
  constexpr int n = draw_vectors<T> / 2;
  Words<T> w[draw_vectors<T>], u[n], v[n];
  simd::Vec<T> r[n], a[n], b[n];
  draw_words(g, w);
  for (int k = 0; k < n; ++k) {
    u[k] = w[k];
    v[k] = w[n + k];
  }
  BoxMuller::radius(u, r);
  BoxMuller::turn(r, v, a, b);
  for (int k = 0; k < n; ++k) {
    out[k] = a[k];
    out[n + k] = b[k];
  }
}

// Words at x, as draw_words leaves them in U units, become normals.
template <int U, class T>
SEQSGD_INLINE void normals_from_words(T* x) {
  constexpr int n = draw_vectors<T> / 2, w = simd::width<T>;
  const auto at = [&](int k, int half) SEQSGD_LAMBDA_INLINE {
    return x + k / n * draw_size + (half * n + k % n) * w;
  };
  Words<T> u[U * n], v[U * n];
  simd::Vec<T> r[U * n], a[U * n], b[U * n];
  for (int k = 0; k < U * n; ++k) u[k] = simd::bits<Words<T>>(simd::load(at(k, 0)));
  BoxMuller::radius(u, r);
  for (int k = 0; k < U * n; ++k) v[k] = simd::bits<Words<T>>(simd::load(at(k, 1)));
  BoxMuller::turn(r, v, a, b);
  for (int k = 0; k < U * n; ++k) {
    simd::store(at(k, 0), a[k]);
    simd::store(at(k, 1), b[k]);
  }
}

// Narrow vectors draw in two stages, many words first, to have four chains in step.
inline constexpr bool staged = !simd::widest;
inline constexpr Index stretch = 8 * draw_size;

__attribute__((noinline, cold)) inline void refuse_normals(Index n) {
  throw std::invalid_argument("n: expected a multiple of " + std::to_string(draw_size) + ", got " +
                              std::to_string(n));
}

// n standard normals, n a multiple of `draw_size`; x need not be aligned.
template <class T>
inline void fill_normal(Xoshiro16& lanes_, T* x, Index n) {
  if (__builtin_expect(n % draw_size != 0, 0)) refuse_normals(n);
  constexpr int w = simd::width<T>;
  Xoshiro16 g = lanes_;
  if constexpr (staged) {
    constexpr int together = draw_vectors<T> < 8 ? 2 : 1;  // units
    for (Index begin = 0; begin < n; begin += stretch) {
      const Index end = begin + stretch < n ? begin + stretch : n;
      for (Index i = begin; i < end; i += draw_size) {
        Words<T> z[draw_vectors<T>];
        draw_words(g, z);
        for (int k = 0; k < draw_vectors<T>; ++k)
          simd::store(x + i + k * w, simd::bits<simd::Vec<T>>(z[k]));
      }
      Index i = begin;
      for (; i + together * draw_size <= end; i += together * draw_size)
        normals_from_words<together>(x + i);
      if (i < end) normals_from_words<1>(x + i);
    }
  } else {
    for (Index i = 0; i < n; i += draw_size) {
      simd::Vec<T> z[draw_vectors<T>];
      draw<T>(g, z);
      for (int k = 0; k < draw_vectors<T>; ++k) simd::store(x + i + k * w, z[k]);
    }
  }
  lanes_ = g;
}

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
