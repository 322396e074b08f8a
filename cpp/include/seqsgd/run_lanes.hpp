// Random numbers for runs side by side: every run has a xoshiro128++ generator of its own, one to a 32-bit lane, seeded from the run's address. What a
// run draws does not depend on which runs are beside it.
#pragma once

#include "random.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

inline constexpr int batch = lanes;                       // runs side by side, on every instruction set
inline constexpr int wide = simd::width<double>;          // runs in a vector of doubles
inline constexpr int parts = batch / wide;                // vectors of doubles to a batch

// First counter words of Philox: below `lanes` they belong to Lanes.
enum class Use : std::uint32_t { run = lanes, again = lanes + 1, start = lanes + 2 };

inline std::array<std::uint32_t, 4> words_at(Use use, const Address& a) {
  return philox({std::uint32_t(use), std::uint32_t(a.block), a.run, (std::uint32_t(a.stream) << 24) | std::uint32_t(a.block >> 32)}, {std::uint32_t(a.seed), std::uint32_t(a.seed >> 32)});
}

class RunLanes {
 public:
  void seed(int lane, const Address& a) {
    constexpr int w = simd::width<std::uint32_t>;
    const auto words = words_at(Use::run, a);
    for (int i = 0; i < 4; ++i) g_.s[i][lane / w][lane % w] = words[std::size_t(i)];
  }
  SEQSGD_INLINE simd::u32 next(int group) { return g_.next(group); }
  void skip(Index words) {
    for (Index i = 0; i < words; ++i)
      for (int k = 0; k < Lanes::groups; ++k) next(k);
  }

 private:
  Lanes g_;
};

namespace detail {
typedef float half_floats __attribute__((vector_size(simd::bytes / 2)));
typedef std::uint32_t half_words __attribute__((vector_size(simd::bytes / 2)));

SEQSGD_INLINE void widen(simd::f32 x, simd::f64* out, Index stride) {
  half_floats h[2];
  std::memcpy(h, &x, sizeof x);
  for (int i = 0; i < 2; ++i) out[i * stride] = __builtin_convertvector(h[i], simd::f64);
}
SEQSGD_INLINE simd::u64 join(simd::u32 high, simd::u32 low, int i) {
  half_words a[2], b[2];
  std::memcpy(a, &high, sizeof high);
  std::memcpy(b, &low, sizeof low);
  return (__builtin_convertvector(a[i], simd::u64) << 32) | __builtin_convertvector(b[i], simd::u64);
}
}  // namespace detail

inline Index even(Index n) { return n + (n & 1); }

// even(n) standard normals to every run; number i of part p goes to out[i + p * stride]. Single: 31-bit uniforms and single-precision transforms.
template <bool Single>
SEQSGD_INLINE void draw_normals(RunLanes& lanes_, Index n, simd::f64* out, Index stride) {
  RunLanes g = lanes_;  // a local copy can live in registers
  for (Index i = 0; i < n; i += 2)
    for (int k = 0; k < Lanes::groups; ++k) {
      simd::f64* at = out + i + 2 * k * stride;
      const simd::u32 u = g.next(k), v = g.next(k);
      if constexpr (Single) {
        simd::f32 a, b;
        BoxMuller::pair(u, v, a, b);
        detail::widen(a, at, stride);
        detail::widen(b, at + 1, stride);
      } else {
        const simd::u32 p = g.next(k), q = g.next(k);
        for (int h = 0; h < 2; ++h) BoxMuller::pair(detail::join(u, p, h), detail::join(v, q, h), at[h * stride], at[1 + h * stride]);
      }
    }
  lanes_ = g;
}
inline Index words_of_normals(Index n, bool single) { return single ? even(n) : 2 * even(n); }

// A uniform in (0, 1) of 32 bits to every run; part p's goes to out[p * stride].
SEQSGD_INLINE void draw_uniforms(RunLanes& g, simd::f64* out, Index stride) {
  for (int k = 0; k < Lanes::groups; ++k) {
    const simd::u32 w = g.next(k);
    detail::half_words h[2];
    std::memcpy(h, &w, sizeof w);
    for (int i = 0; i < 2; ++i) out[(2 * k + i) * stride] = (__builtin_convertvector(h[i], simd::f64) + 0.5) * 0x1p-32;
  }
}

// One run's numbers one at a time: for starts, and for what is rare. Philox in counter mode under a key of the address's own.
class OneByOne {
 public:
  OneByOne(Use use, const Address& a) {
    const auto w = words_at(use, a);
    key_ = {w[0], w[1]};
    counter_ = {0, 0, w[2], w[3]};
  }
  OneByOne(Use use, const Address& a, std::uint32_t which) : OneByOne(use, a) { counter_[1] = which; }

  double uniform() { return (double(word() >> 12) + 0.5) * 0x1p-52; }  // in (0, 1)
  double normal() {
    simd::f64 g, h;
    BoxMuller::pair(simd::u64{} + word(), simd::u64{} + word(), g, h);
    return g[0];
  }

 private:
  std::uint64_t word() {
    if (left_ == 0) {
      const auto w = philox(counter_, key_);
      buffer_[0] = std::uint64_t(w[0]) << 32 | w[1];
      buffer_[1] = std::uint64_t(w[2]) << 32 | w[3];
      ++counter_[0];
      left_ = 2;
    }
    return buffer_[--left_];
  }
  std::array<std::uint32_t, 4> counter_;
  std::array<std::uint32_t, 2> key_;
  std::uint64_t buffer_[2];
  int left_ = 0;
};

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
