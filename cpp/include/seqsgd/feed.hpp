// The data of a sampled run: where in its streams a step's draws are, and how to start in the middle.
//
// Steps are grouped in blocks of a length that depends on L and d alone; block b of run r is addressed by (seed, data, r, b).
#pragma once

#include <algorithm>
#include <vector>

#include "laws.hpp"
#include "sphere.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

// About 32768 normals to a block, so that starting one costs nothing.
inline Index block_steps(Index L, Index d) {
  Index b = 1;
  while (b < 4096 && 2 * b * L * d <= 32768) b *= 2;
  return b;
}

template <class T>
class Feed {
 public:
  Feed(const TokenSettings& law, Index L, Index d, int noise_k)
      : law_(law), L_(L), d_(d), block_(block_steps(L, d)), noise_k_(noise_k), tails_(std::size_t(padded(block_ * L * (d % unit)) + unit)), noise_(std::size_t(padded(block_ * noise_k))) {
    if (law.law != TokenLaw::gaussian) skipped_ = Rows<T>(L, row_stride<T>(d));
  }

  bool at(const void* owner, Index step) const { return owner == owner_ && step == step_; }
  Index block_length() const { return block_; }
  bool fresh_gaussian() const { return law_.law == TokenLaw::gaussian; }

  // Go to a step of a run's stream.
  void seek(const void* owner, std::uint64_t seed, std::uint32_t run, Index step) {
    owner_ = owner;
    seed_ = seed;
    run_ = run;
    step_ = step;
    begin_block();
    for (Index i = 0; i < step % block_; ++i) skip();
  }

  // The source of this step's normals; its generator is handed back by `took`.
  Draw<T> draw_source() const { return {lanes_, tails_.data() + (step_ % block_) * L_ * (d_ % unit)}; }
  void took(const Draw<T>& s) { lanes_ = s.g; }
  // Other laws: fill rows with this step's tokens.
  void fill(T* X, Index stride) { fill_tokens(law_, lanes_, L_, d_, X, stride); }
  // The step is over.
  void next() {
    if (++step_ % block_ == 0) begin_block();
  }
  // Label noise of this step, or null.
  const double* noise() const { return noise_k_ ? noise_.data() + (step_ % block_) * noise_k_ : nullptr; }

 private:
  void begin_block() {
    const std::uint64_t b = std::uint64_t(step_ / block_);
    lanes_ = Lanes(Address{seed_, Stream::data, run_, b});
    if (fresh_gaussian()) fill_normal(lanes_, tails_.data(), padded(block_ * L_ * (d_ % unit)));
    if (noise_k_) {
      Lanes g(Address{seed_, Stream::noise, run_, b});
      fill_normal(g, noise_.data(), padded(block_ * noise_k_));
    }
  }
  void skip() {
    if (!fresh_gaussian()) return fill_tokens(law_, lanes_, L_, d_, skipped_.data(), skipped_.cols());
    for (Index i = L_ * (d_ / unit) * (sizeof(T) == 4 ? 2 : 4); i > 0; --i)
      for (int g = 0; g < Lanes::groups; ++g) lanes_.next(g);
  }

  TokenSettings law_;
  Index L_, d_, block_;
  int noise_k_;
  std::vector<T> tails_;
  std::vector<double> noise_;
  Rows<T> skipped_;
  Lanes lanes_;
  const void* owner_ = nullptr;
  std::uint64_t seed_ = 0;
  std::uint32_t run_ = 0;
  Index step_ = -1;
};

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
