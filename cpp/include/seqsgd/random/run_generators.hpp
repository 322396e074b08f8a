// Random numbers for runs side by side: every run has a xoshiro128++ generator of its own, one to a
// 32-bit lane, seeded from the run's address. What a run draws does not depend on which runs are
// beside it.
#pragma once

#include "seqsgd/random/normal.hpp"
#include "seqsgd/simd/math.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

inline constexpr int group_size =
    4 * Pack::size;  // runs side by side at most: several packs hide each other's latency
inline constexpr int group_packs = group_size / Pack::size;  // packs to a group

// First counter words of Philox: below `generator_width` they belong to Xoshiro16.
enum class Purpose : std::uint32_t {
  run = generator_width,
  rejection = generator_width + 2,
  start = generator_width + 3
};  // run takes two

inline std::array<std::uint32_t, 4> words_at(Purpose use, const Address& a) {
  return philox({std::uint32_t(use), std::uint32_t(a.block), a.run,
                 (std::uint32_t(a.stream) << 24) | std::uint32_t(a.block >> 32)},
                {std::uint32_t(a.seed), std::uint32_t(a.seed >> 32)});
}

// 32 or 64 random bits of every run of a pack.
template <class T>
using WordsOf = Joined<pack_vectors* int(sizeof(T)) / 8, Words<T>>;

// For normals in single precision a run has one lane of 32 bits; for double precision two
// neighbouring ones, that is one of 64 bits.
template <class T>
class RunGenerators {
 public:
  void seed(int lane, const Address& a) {
    constexpr int each = int(sizeof(T) / 4);
    for (int k = 0; k < each; ++k) {
      const auto words = words_at(Purpose(int(Purpose::run) + k), a);
      for (int i = 0; i < 4; ++i)
        s_[i][lane / Pack::size][each * (lane % Pack::size) + k] = words[std::size_t(i)];
    }
  }
  // The next words of the runs of a pack: out[0], out[1], ... one after the other.
  template <int N>
  SEQSGD_INLINE void next(int pack, WordsOf<T> (&out)[N]) {
    each(pack, N, [&](Index i, const auto& word) SEQSGD_LAMBDA_INLINE { out[i] = word; });
  }
  SEQSGD_INLINE WordsOf<T> next(int pack) {
    WordsOf<T> w[1];
    next(pack, w);
    return w[0];
  }
  // f(i, word) for the next n words.
  template <class F>
  SEQSGD_INLINE void each(int pack, Index n, F f) {
    State a = s_[0][pack], b = s_[1][pack], c = s_[2][pack], d = s_[3][pack];
    for (Index i = 0; i < n; ++i) f(i, bits_as<WordsOf<T>>(xoshiro(a, b, c, d)));
    s_[0][pack] = a, s_[1][pack] = b, s_[2][pack] = c, s_[3][pack] = d;
  }
  void skip(Index words) {
    for (int pack = 0; pack < group_packs; ++pack) each(pack, words, [](Index, const auto&) {});
  }

 private:
  using State = Joined<pack_vectors* int(sizeof(T)) / 8, simd::u32>;
  State s_[4][group_packs]{};
};

inline Index even(Index n) { return n + (n & 1); }

// Standard normals of the runs of P packs, from `pack` on, in the precision they are drawn in:
// numbers i, i + 1, ... go to out[k][i] and so on. Joined pairs in step.
template <int Pairs, int P, class T>
SEQSGD_INLINE void draw_pairs(RunGenerators<T>& g, int pack, Index i, PackOf<T>* const (&out)[P]) {
  constexpr int n = vectors_in<PackOf<T>>, M = Pairs * n, N = P * M;
  WordsOf<T> words[P][2 * Pairs];
  Words<T> u[N], v[N];
  simd::Vec<T> r[N], a[N], b[N];
  for (int k = 0; k < P; ++k) g.next(pack + k, words[k]);
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
    std::max(1, (simd::widest ? 1 : 4) / (P * vectors_in<PackOf<T>>));
// (Not inlined: the instructions of a step should fit into the micro-op cache.)
template <class T, int P>
__attribute__((noinline)) void draw_normals(RunGenerators<T>& g, int pack, Index n,
                                            PackOf<T>* const (&out)[P]) {
  each_pairs<pairs_in_step<T, P>>(n, [&](auto pairs, Index i) SEQSGD_LAMBDA_INLINE {
    draw_pairs<pairs.value>(g, pack, i, out);
  });
}

// even(n) standard normals of the runs of a pack, as doubles.
template <class T>
SEQSGD_INLINE void draw_doubles(RunGenerators<T>& g, int pack, Index n, Pack* out) {
  each_pairs<sizeof(T) == 4 ? 4 : 1>(n, [&](auto pairs, Index i) SEQSGD_LAMBDA_INLINE {
    PackOf<T> x[2 * pairs.value], *const to[1] = {x};
    draw_pairs<pairs.value>(g, pack, 0, to);
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
SEQSGD_INLINE auto uniform(const Pair<H>& w) {
  return each_vector(w, [](auto x) SEQSGD_LAMBDA_INLINE { return uniform(x); });
}

// Uniforms in (0, 1) for the runs of a pack, as doubles.
template <class T>
SEQSGD_INLINE void draw_uniforms(RunGenerators<T>& g, int pack, Index n, Pack* out) {
  g.each(pack, n,
         [&](Index i, const auto& word) SEQSGD_LAMBDA_INLINE { out[i] = widened(uniform(word)); });
}

// One run's numbers one at a time: for starts, and for what is rare. Philox in counter mode under a
// key of the address's own.
class ScalarPhilox {
 public:
  ScalarPhilox(Purpose use, const Address& a) {
    const auto w = words_at(use, a);
    key_ = {w[0], w[1]};
    counter_ = {0, 0, w[2], w[3]};
  }
  ScalarPhilox(Purpose use, const Address& a, std::uint32_t which) : ScalarPhilox(use, a) {
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
