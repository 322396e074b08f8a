// Random numbers for runs side by side: every run has a xoshiro128++ generator of its own, one to a
// 32-bit lane, seeded from the run's address. What a run draws does not depend on which runs are
// beside it.
#pragma once

#include "seqsgd/random/random.hpp"
#include "seqsgd/simd/math.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

inline constexpr int wide = Runs::length;  // runs in a number of runs
inline constexpr int batch =
    4 * wide;  // runs side by side at most: several numbers of runs fill each other's waits
inline constexpr int parts = batch / wide;  // such numbers to a batch

// First counter words of Philox: below `lanes` they belong to Lanes.
enum class Use : std::uint32_t {
  run = lanes,
  again = lanes + 2,
  start = lanes + 3
};  // run takes two

inline std::array<std::uint32_t, 4> words_at(Use use, const Address& a) {
  return philox({std::uint32_t(use), std::uint32_t(a.block), a.run,
                 (std::uint32_t(a.stream) << 24) | std::uint32_t(a.block >> 32)},
                {std::uint32_t(a.seed), std::uint32_t(a.seed >> 32)});
}

// 32 or 64 random bits of every run of a part.
template <class T>
using WordsOf = Several<ways* int(sizeof(T)) / 8, Words<T>>;

// For normals in single precision a run has one lane of 32 bits; for double precision two
// neighbouring ones, that is one of 64 bits.
template <class T>
class RunLanes {
 public:
  void seed(int lane, const Address& a) {
    constexpr int each = int(sizeof(T) / 4);
    for (int k = 0; k < each; ++k) {
      const auto words = words_at(Use(int(Use::run) + k), a);
      for (int i = 0; i < 4; ++i)
        s_[i][lane / wide][each * (lane % wide) + k] = words[std::size_t(i)];
    }
  }
  // The next words of the runs of a part: out[0], out[1], ... one after the other.
  template <int N>
  SEQSGD_INLINE void next(int part, WordsOf<T> (&out)[N]) {
    each(part, N, [&](Index i, const auto& word) SEQSGD_LAMBDA_INLINE { out[i] = word; });
  }
  SEQSGD_INLINE WordsOf<T> next(int part) {
    WordsOf<T> w[1];
    next(part, w);
    return w[0];
  }
  // f(i, word) for the next n words.
  template <class F>
  SEQSGD_INLINE void each(int part, Index n, F f) {
    State a = s_[0][part], b = s_[1][part], c = s_[2][part], d = s_[3][part];
    for (Index i = 0; i < n; ++i) f(i, bits_as<WordsOf<T>>(xoshiro(a, b, c, d)));
    s_[0][part] = a, s_[1][part] = b, s_[2][part] = c, s_[3][part] = d;
  }
  void skip(Index words) {
    for (int part = 0; part < parts; ++part) each(part, words, [](Index, const auto&) {});
  }

 private:
  using State = Several<ways* int(sizeof(T)) / 8, simd::u32>;
  State s_[4][parts]{};
};

inline Index even(Index n) { return n + (n & 1); }

// Standard normals of the runs of P parts, from `part` on, in the precision they are drawn in:
// numbers i, i + 1, ... go to out[k][i] and so on. Several pairs in step.
template <int Pairs, int P, class T>
SEQSGD_INLINE void draw_pairs(RunLanes<T>& g, int part, Index i, RunsOf<T>* const (&out)[P]) {
  constexpr int n = vectors_in<RunsOf<T>>, M = Pairs * n, N = P * M;
  WordsOf<T> words[P][2 * Pairs];
  Words<T> u[N], v[N];
  simd::Vec<T> r[N], a[N], b[N];
  for (int k = 0; k < P; ++k) g.next(part + k, words[k]);
  for (int j = 0; j < N; ++j) {
    u[j] = vector_of(words[j / M][j % M / n * 2], j % n);
    v[j] = vector_of(words[j / M][j % M / n * 2 + 1], j % n);
  }
  BoxMuller::radius(u, r);
  BoxMuller::turn(r, v, a, b);
  for (int j = 0; j < N; ++j) {
    vector_of(out[j / M][i + j % M / n * 2], j % n) = a[j];
    vector_of(out[j / M][i + j % M / n * 2 + 1], j % n) = b[j];
  }
}
// f(pairs, i) for the normals i, i + 1, ... of n, `most` pairs at a time.
template <int most, class F>
SEQSGD_INLINE void each_pairs(Index n, F f) {
  Index i = 0;
  for (n = even(n); i + 2 * most <= n; i += 2 * most) f(std::integral_constant<int, most>(), i);
  const Index rest = (n - i) / 2;
  if (rest == 3) f(std::integral_constant<int, std::min(3, most)>(), i);
  if (rest == 2) f(std::integral_constant<int, std::min(2, most)>(), i);
  if (rest == 1) f(std::integral_constant<int, 1>(), i);
}
// Pairs in step: where vectors are narrow many chains of few, and where they are wide few of many,
// so that the processor sees the next ones as well.
template <class T, int P>
inline constexpr int pairs_in_step =
    std::max(1, (simd::widest ? 1 : 4) / (P * vectors_in<RunsOf<T>>));
// (Not inlined: the instructions of a step should fit into the cache of decoded ones.)
template <class T, int P>
__attribute__((noinline)) void draw_normals(RunLanes<T>& g, int part, Index n,
                                            RunsOf<T>* const (&out)[P]) {
  each_pairs<pairs_in_step<T, P>>(n, [&](auto pairs, Index i) SEQSGD_LAMBDA_INLINE {
    draw_pairs<pairs.value>(g, part, i, out);
  });
}

// even(n) standard normals of the runs of a part, as doubles.
template <class T>
SEQSGD_INLINE void draw_doubles(RunLanes<T>& g, int part, Index n, Runs* out) {
  each_pairs<sizeof(T) == 4 ? 4 : 1>(n, [&](auto pairs, Index i) SEQSGD_LAMBDA_INLINE {
    RunsOf<T> x[2 * pairs.value], *const to[1] = {x};
    draw_pairs<pairs.value>(g, part, 0, to);
    for (int k = 0; k < 2 * pairs.value; ++k) out[i + k] = widened(x[k]);
  });
}

// A uniform in (0, 1), or 1 by rounding of the largest in single precision, from words in their own
// precision.
SEQSGD_INLINE simd::f32 uniform(simd::u32 w) {
  return simd::to_float(simd::bits<simd::i32>(w >> 1)) * 0x1p-31f + 0x1p-32f;
}
SEQSGD_INLINE simd::f64 uniform(simd::u64 w) {
  return simd::bits<simd::f64>((w >> 12) | 0x3FF0000000000000u) - (1.0 - 0x1p-53);
}
template <class H>
SEQSGD_INLINE auto uniform(const Two<H>& w) {
  return each_vector(w, [](auto x) SEQSGD_LAMBDA_INLINE { return uniform(x); });
}

// Uniforms in (0, 1) for the runs of a part, as doubles.
template <class T>
SEQSGD_INLINE void draw_uniforms(RunLanes<T>& g, int part, Index n, Runs* out) {
  g.each(part, n,
         [&](Index i, const auto& word) SEQSGD_LAMBDA_INLINE { out[i] = widened(uniform(word)); });
}

// One run's numbers one at a time: for starts, and for what is rare. Philox in counter mode under a
// key of the address's own.
class OneByOne {
 public:
  OneByOne(Use use, const Address& a) {
    const auto w = words_at(use, a);
    key_ = {w[0], w[1]};
    counter_ = {0, 0, w[2], w[3]};
  }
  OneByOne(Use use, const Address& a, std::uint32_t which) : OneByOne(use, a) {
    counter_[1] = which;
  }

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

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
