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
enum class Use : std::uint32_t { run = lanes, again = lanes + 2, start = lanes + 3 };  // run takes two

inline std::array<std::uint32_t, 4> words_at(Use use, const Address& a) {
  return philox({std::uint32_t(use), std::uint32_t(a.block), a.run, (std::uint32_t(a.stream) << 24) | std::uint32_t(a.block >> 32)}, {std::uint32_t(a.seed), std::uint32_t(a.seed >> 32)});
}

// For normals in single precision a run has one lane of 32 bits; for double precision two neighbouring ones, that is one of 64 bits.
template <class T>
class RunLanes {
 public:
  using Word = Words<T>;
  static constexpr int vectors = batch / simd::width<T>;

  void seed(int lane, const Address& a) {
    constexpr int w = simd::width<T>, each = int(sizeof(T) / 4);
    for (int k = 0; k < each; ++k) {
      const auto words = words_at(Use(int(Use::run) + k), a);
      for (int i = 0; i < 4; ++i) s_[i][lane / w][each * (lane % w) + k] = words[std::size_t(i)];
    }
  }
  SEQSGD_INLINE void next(Word (&out)[vectors]) {
    for (int k = 0; k < vectors; ++k) out[k] = simd::bits<Word>(xoshiro(s_[0][k], s_[1][k], s_[2][k], s_[3][k]));
  }
  // The next words of vector k alone: out[0], out[1], ... one after the other.
  template <int N>
  SEQSGD_INLINE void next_of(int k, Word (&out)[N]) {
    simd::u32 a = s_[0][k], b = s_[1][k], c = s_[2][k], d = s_[3][k];
    for (int i = 0; i < N; ++i) out[i] = simd::bits<Word>(xoshiro(a, b, c, d));
    s_[0][k] = a, s_[1][k] = b, s_[2][k] = c, s_[3][k] = d;
  }
  void skip(Index words) {
    Word w[vectors];
    for (Index i = 0; i < words; ++i) next(w);
  }

 private:
  simd::u32 s_[4][vectors]{};
};

namespace detail {
typedef float half_floats __attribute__((vector_size(simd::bytes / 2)));
typedef std::uint32_t half_words __attribute__((vector_size(simd::bytes / 2)));

// One number for every run, to the parts of a batch.
SEQSGD_INLINE void spread(const simd::f32 (&x)[batch / simd::width<float>], simd::f64* out, Index stride) {
  for (int k = 0; k < batch / simd::width<float>; ++k) {
    half_floats h[2];
    std::memcpy(h, &x[k], sizeof x[k]);
    for (int i = 0; i < 2; ++i) out[(2 * k + i) * stride] = __builtin_convertvector(h[i], simd::f64);
  }
}
SEQSGD_INLINE void spread(const simd::f64 (&x)[parts], simd::f64* out, Index stride) {
  for (int k = 0; k < parts; ++k) out[k * stride] = x[k];
}
}  // namespace detail

inline Index even(Index n) { return n + (n & 1); }

// even(n) standard normals to every run; number i of part p goes to out[i + p * stride].
template <class T>
SEQSGD_INLINE void draw_normals(RunLanes<T>& lanes_, Index n, simd::f64* out, Index stride) {
  constexpr int w = RunLanes<T>::vectors;
  RunLanes<T> g = lanes_;  // a local copy can live in registers
  for (Index i = 0; i < n; i += 2) {
    Words<T> u[w], v[w];
    simd::Vec<T> r[w], a[w], b[w];
    g.next(u);
    g.next(v);
    BoxMuller::radius(u, r);
    BoxMuller::turn(r, v, a, b);
    detail::spread(a, out + i, stride);
    detail::spread(b, out + i + 1, stride);
  }
  lanes_ = g;
}

// The same numbers as draw_normals gives, to the runs of vector k alone and in the precision they are drawn in: number i goes to out[i]. Several pairs in step.
template <int Pairs, class T>
SEQSGD_INLINE void draw_pairs(RunLanes<T>& g, int k, simd::Vec<T>* out) {
  Words<T> words[2 * Pairs], u[Pairs], v[Pairs];
  simd::Vec<T> r[Pairs], a[Pairs], b[Pairs];
  g.next_of(k, words);
  for (int i = 0; i < Pairs; ++i) {
    u[i] = words[2 * i];
    v[i] = words[2 * i + 1];
  }
  BoxMuller::radius(u, r);
  BoxMuller::turn(r, v, a, b);
  for (int i = 0; i < Pairs; ++i) {
    out[2 * i] = a[i];
    out[2 * i + 1] = b[i];
  }
}
template <class T>
SEQSGD_INLINE void draw_normals_of(RunLanes<T>& lanes_, int k, Index n, simd::Vec<T>* out) {
  Index i = 0;
  for (; i + 8 <= n; i += 8) draw_pairs<4>(lanes_, k, out + i);
  for (; i < n; i += 2) draw_pairs<1>(lanes_, k, out + i);
}

// A uniform in (0, 1), of 32 or 52 bits, to every run; part p's goes to out[p * stride].
SEQSGD_INLINE void draw_uniforms(RunLanes<float>& g, simd::f64* out, Index stride) {
  simd::u32 w[RunLanes<float>::vectors];
  g.next(w);
  for (int k = 0; k < RunLanes<float>::vectors; ++k) {
    detail::half_words h[2];
    std::memcpy(h, &w[k], sizeof w[k]);
    for (int i = 0; i < 2; ++i) out[(2 * k + i) * stride] = (__builtin_convertvector(h[i], simd::f64) + 0.5) * 0x1p-32;
  }
}
SEQSGD_INLINE void draw_uniforms(RunLanes<double>& g, simd::f64* out, Index stride) {
  simd::u64 w[parts];
  g.next(w);
  for (int k = 0; k < parts; ++k) out[k * stride] = simd::bits<simd::f64>((w[k] >> 12) | 0x3FF0000000000000u) - (1.0 - 0x1p-53);
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
    const simd::u64 u[1] = {simd::u64{} + word()}, v[1] = {simd::u64{} + word()};
    simd::f64 r[1], g[1], h[1];
    BoxMuller::radius(u, r);
    BoxMuller::turn(r, v, g, h);
    return g[0][0];
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

// Between vectors of T and the parts of a batch, as many as hold the same runs: one for double, two for float.
template <class T>
inline constexpr int halves = simd::width<T> / wide;
SEQSGD_INLINE void widen(simd::f64 x, simd::f64 (&out)[1]) { out[0] = x; }
// (GCC takes the halves through memory where it is not told how.)
SEQSGD_INLINE void widen(simd::f32 x, simd::f64 (&out)[2]) {
#if defined(SEQSGD_AVX512)
  out[0] = simd::bits<simd::f64>(_mm512_cvtps_pd(_mm512_castps512_ps256(simd::bits<__m512>(x))));
  out[1] = simd::bits<simd::f64>(_mm512_cvtps_pd(_mm512_extractf32x8_ps(simd::bits<__m512>(x), 1)));
#elif defined(SEQSGD_AVX2)
  out[0] = simd::bits<simd::f64>(_mm256_cvtps_pd(_mm256_castps256_ps128(simd::bits<__m256>(x))));
  out[1] = simd::bits<simd::f64>(_mm256_cvtps_pd(_mm256_extractf128_ps(simd::bits<__m256>(x), 1)));
#else
  detail::half_floats h[2];
  std::memcpy(h, &x, sizeof x);
  for (int i = 0; i < 2; ++i) out[i] = __builtin_convertvector(h[i], simd::f64);
#endif
}
SEQSGD_INLINE simd::f64 narrow(const simd::f64 (&x)[1]) { return x[0]; }
SEQSGD_INLINE simd::f32 narrow(const simd::f64 (&x)[2]) {
#if defined(SEQSGD_AVX512)
  return simd::bits<simd::f32>(_mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtpd_ps(simd::bits<__m512d>(x[0]))), _mm512_cvtpd_ps(simd::bits<__m512d>(x[1])), 1));
#elif defined(SEQSGD_AVX2)
  return simd::bits<simd::f32>(_mm256_insertf128_ps(_mm256_castps128_ps256(_mm256_cvtpd_ps(simd::bits<__m256d>(x[0]))), _mm256_cvtpd_ps(simd::bits<__m256d>(x[1])), 1));
#else
  const detail::half_floats h[2] = {__builtin_convertvector(x[0], detail::half_floats), __builtin_convertvector(x[1], detail::half_floats)};
  simd::f32 out;
  std::memcpy(&out, h, sizeof out);
  return out;
#endif
}

// A uniform in (0, 1) from a word, in its own precision.
SEQSGD_INLINE simd::f32 uniform(simd::u32 w) { return simd::to_float(simd::bits<simd::i32>(w >> 1)) * 0x1p-31f + 0x1p-32f; }
SEQSGD_INLINE simd::f64 uniform(simd::u64 w) { return simd::bits<simd::f64>((w >> 12) | 0x3FF0000000000000u) - (1.0 - 0x1p-53); }

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
