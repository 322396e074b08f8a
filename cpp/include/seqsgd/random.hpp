// Random streams and standard normals.
//
// A block of draws is addressed by (seed, stream, run, block): Philox4x32-10, a counter-based generator, turns the address into the state of
// sixteen xoshiro128++ lanes, which then run at vector speed. Whoever knows the address can start any block; nothing depends on threads or batches.
// Normals come in units of 32 (Box-Muller on the two words of each lane) in one canonical order on every instruction set.
#pragma once

#include <array>

#include "simd.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

enum class Stream : std::uint32_t { teacher = 1, init = 2, position = 3, data = 4, noise = 5 };

// Philox4x32-10 (Salmon, Moraes, Dror, Shaw, SC 2011).
inline std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> c, std::array<std::uint32_t, 2> k) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = std::uint64_t(c[0]) * 0xD2511F53u, p1 = std::uint64_t(c[2]) * 0xCD9E8D57u;
    c = {std::uint32_t(p1 >> 32) ^ c[1] ^ k[0], std::uint32_t(p1), std::uint32_t(p0 >> 32) ^ c[3] ^ k[1], std::uint32_t(p0)};
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

inline constexpr int lanes = 16;  // of the generator, whatever the vector width
inline constexpr int unit = 32;   // normals drawn at once

// xoshiro128++ (Blackman, Vigna 2019), one generator to a lane.
SEQSGD_INLINE simd::u32 xoshiro(simd::u32& a, simd::u32& b, simd::u32& c, simd::u32& d) {
  using simd::rotl;
  const simd::u32 r = rotl<7>(a + d) + a, t = b << 9;
  c ^= a;
  d ^= b;
  b ^= c;
  a ^= d;
  c ^= t;
  d = rotl<11>(d);
  return r;
}

// Sixteen xoshiro128++ generators side by side.
struct Lanes {
  static constexpr int groups = lanes / simd::width<std::uint32_t>;
  simd::u32 s[4][groups];

  Lanes() = default;
  explicit Lanes(const Address& a) {
    alignas(64) std::uint32_t w[4][lanes];
    for (int j = 0; j < lanes; ++j) {
      const auto r = philox({std::uint32_t(j), std::uint32_t(a.block), a.run, (std::uint32_t(a.stream) << 24) | std::uint32_t(a.block >> 32)},
                            {std::uint32_t(a.seed), std::uint32_t(a.seed >> 32)});
      for (int i = 0; i < 4; ++i) w[i][j] = r[i];
    }
    for (int i = 0; i < 4; ++i)
      for (int g = 0; g < groups; ++g) s[i][g] = simd::load(w[i] + g * simd::width<std::uint32_t>);
  }

  SEQSGD_INLINE simd::u32 next(int g) { return xoshiro(s[0][g], s[1][g], s[2][g], s[3][g]); }
};

// One Box-Muller pair per lane. The angle is drawn in [-pi/2, pi/2); a bit of its word reflects it to the other half.
struct BoxMuller {
  // float: 31-bit radius, |z| <= 6.76. The polynomials are Chebyshev fits, error below 5e-8 of the radius.
  SEQSGD_INLINE static void pair(simd::u32 u, simd::u32 v, simd::f32& g, simd::f32& h) {
    using namespace simd;
    const f32 x = to_float(bits<i32>(u >> 1)) * 0x1p-31f + 0x1p-33f;
    const i32 b = bits<i32>(x), e = (b - 0x3F3504F3) >> 23;
    const f32 f = bits<f32>(bits<u32>(b) - (bits<u32>(e) << 23)) - 1.0f;
    f32 p = f * 0.158054875448f - 0.252446396985f;
    p = p * f + 0.259963675273f;
    p = p * f - 0.284289918479f;
    p = p * f + 0.332825629262f;
    p = p * f - 0.400020901883f;
    p = p * f + 0.500006128451f;
    p = p * f - 0.666666614564f;
    p = p * f + 1.0f;
    p = p * f - 2.0f;
    const f32 r = simd::sqrt(p * f + to_float(e) * -1.38629436112f);
    const f32 t = to_float(bits<i32>(v)) * 0x1p-31f, q = t * t;
    f32 s = q * 0.00015167170366f - 0.00467414383815f;
    s = s * q + 0.0796899183290f;
    s = s * q - 0.645963759584f;
    s = (s * q + 1.57079632004f) * t;
    f32 c = q * 0.000858134467091f - 0.0208105151998f;
    c = c * q + 0.253650674423f;
    c = c * q - 1.23369820062f;
    c = c * q + 0.999999953028f;
    g = r * s;
    h = bits<f32>(bits<u32>(r) ^ (v << 31)) * c;
  }

  // double: 52-bit radius and angle, |z| <= 8.57, error below 1e-15.
  SEQSGD_INLINE static void pair(simd::u64 u, simd::u64 v, simd::f64& g, simd::f64& h) {
    using namespace simd;
    constexpr std::uint64_t one = 0x3FF0000000000000u;
    const f64 x = bits<f64>((u >> 12) | one) - (1.0 - 0x1p-53);
    const i64 b = bits<i64>(x), e = (b - 0x3FE6A09E667F3BCD) >> 52;
    const f64 m = bits<f64>(bits<u64>(b) - (bits<u64>(e) << 52));
    const f64 a = (m - 1.0) / (m + 1.0), w = a * a;
    f64 p = w * 0.13262103674021809098 + 0.13248763083460115888;
    p = p * w + 0.15387160926134079899;
    p = p * w + 0.18181773738016305815;
    p = p * w + 0.22222222676929540265;
    p = p * w + 0.28571428568819126944;
    p = p * w + 0.40000000000007493931;
    p = p * w + 0.66666666666666658387;
    p = p * w + 2.0;
    // The exponent is small: it becomes a double through the mantissa of 1.5 * 2^52.
    const f64 k = bits<f64>(bits<u64>(e) + 0x4338000000000000u) - 0x1.8p52;
    const f64 r = simd::sqrt(p * a * -2.0 + k * -1.38629436111989061883);
    const f64 t = bits<f64>((v >> 12) | one) * 2.0 - 3.0, q = t * t;
    f64 s = q * -4.2502807923692643874e-14 + 6.0642540263155524016e-12;
    s = s * q - 6.6880036321567914638e-10;
    s = s * q + 5.6921726984781161244e-8;
    s = s * q - 3.5988432342295585196e-6;
    s = s * q + 0.00016044118478709679188;
    s = s * q - 0.0046817541353186476495;
    s = s * q + 0.079692626246167041961;
    s = s * q - 0.64596409750624625356;
    s = (s * q + 1.5707963267948966192) * t;
    f64 c = q * -5.1251270107090761839e-13 + 6.5623841967755842974e-11;
    c = c * q - 6.3865610850537953519e-9;
    c = c * q + 4.7108744806670772315e-7;
    c = c * q - 0.000025202042359954066437;
    c = c * q + 0.00091926027483591804651;
    c = c * q - 0.020863480763352421318;
    c = c * q + 0.25366950790104797149;
    c = c * q - 1.2337005501361698261;
    c = c * q + 1.0;
    g = r * s;
    h = bits<f64>(bits<u64>(r) ^ (v << 63)) * c;
  }
};

template <class T>
inline constexpr int packs = unit / simd::width<T>;  // vectors in a unit

// One unit of normals, in canonical order across out[0..packs).
SEQSGD_INLINE void draw(Lanes& g, simd::f32 (&out)[packs<float>]) {
  for (int k = 0; k < Lanes::groups; ++k) {
    const simd::u32 u = g.next(k), v = g.next(k);
    BoxMuller::pair(u, v, out[k], out[Lanes::groups + k]);
  }
}
// Doubles take two words of a lane group as 64-bit lanes: four draws a group for twice two vectors.
SEQSGD_INLINE void draw(Lanes& g, simd::f64 (&out)[packs<double>]) {
  constexpr int G = Lanes::groups;
  simd::u32 w[4][G];
  for (int i = 0; i < 4; ++i)
    for (int k = 0; k < G; ++k) w[i][k] = g.next(k);
  for (int i = 0; i < 2; ++i)
    for (int k = 0; k < G; ++k)
      BoxMuller::pair(simd::bits<simd::u64>(w[i][k]), simd::bits<simd::u64>(w[2 + i][k]), out[i * G + k], out[(2 + i) * G + k]);
}

// n standard normals, n a multiple of `unit`; x need not be aligned.
template <class T>
inline void fill_normal(Lanes& lanes_, T* x, Index n) {
  Lanes g = lanes_;
  for (Index i = 0; i < n; i += unit) {
    simd::Vec<T> z[packs<T>];
    draw(g, z);
    for (int k = 0; k < packs<T>; ++k) simd::store(x + i + k * simd::width<T>, z[k]);
  }
  lanes_ = g;
}

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
