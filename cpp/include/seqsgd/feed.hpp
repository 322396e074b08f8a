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

// Short steps are drawn several at a time into the nearest cache, so that drawing never waits for the end of a step; long ones as they are needed.
inline Index steps_ahead(Index L, Index d) {
  if (L * d > 512) return 0;
  Index n = 1;
  while (2 * n * L * d <= 2048 && 2 * n <= block_steps(L, d)) n *= 2;
  return n;
}

template <class T>
class Feed {
 public:
  Feed(const TokenSettings& law, Index L, Index d, int noise_k)
      : law_(law), L_(L), d_(d), block_(block_steps(L, d)), ahead_(law.law == TokenLaw::gaussian ? steps_ahead(L, d) : 0), noise_k_(noise_k),
        tails_(std::size_t(padded(ahead_ ? ahead_ * L * d : block_ * L * (d % unit)) + unit)), noise_(std::size_t(padded(block_ * noise_k))) {}

  bool at(const void* owner, Index step) const { return owner == owner_ && step == step_; }
  Index block_length() const { return block_; }

  // How a step's tokens are had: by drawing them while they are used, by `ahead()`, or by `fill`.
  enum class Way { draw, ahead, fill };
  Way way() const { return law_.law != TokenLaw::gaussian ? Way::fill : ahead_ ? Way::ahead : Way::draw; }

  // Go to a step of a run's stream.
  void seek(const void* owner, std::uint64_t seed, std::uint32_t run, Index step) {
    owner_ = owner;
    seed_ = seed;
    run_ = run;
    step_ = step;
    begin_block();
    skip_to(in_block());
  }

  // A step was left half done: whoever goes on must seek.
  void forget() { owner_ = nullptr; }

  // This step's normals, to be drawn once.
  Draw<T>& draw_source() {
    source_.tails = tails_.data() + in_block() * L_ * (d_ % unit);
    return source_;
  }
  // This step's tokens, drawn already: (L, d) without gaps.
  const T* ahead() const { return tails_.data() + (step_ & (ahead_ - 1)) * L_ * d_; }
  // Other laws: fill rows with this step's tokens.
  void fill(T* X, Index stride) { fill_tokens(law_, source_.g, L_, d_, X, stride); }
  // The step is over.
  void next() {
    ++step_;
    if (in_block() == 0) begin_block();
    if (ahead_ && (step_ & (ahead_ - 1)) == 0) fill_normal(source_.g, tails_.data(), padded(ahead_ * L_ * d_));
  }
  // Label noise of this step, or null.
  const double* noise() const { return noise_k_ ? noise_.data() + in_block() * noise_k_ : nullptr; }

 private:
  Index in_block() const { return step_ & (block_ - 1); }  // powers of two
  void begin_block() {
    const std::uint64_t b = std::uint64_t(step_ / block_);
    source_.g = Lanes(Address{seed_, Stream::data, run_, b});
    if (way() == Way::draw) fill_normal(source_.g, tails_.data(), padded(block_ * L_ * (d_ % unit)));
    if (noise_k_) {
      Lanes g(Address{seed_, Stream::noise, run_, b});
      fill_normal(g, noise_.data(), padded(block_ * noise_k_));
    }
  }
  // From the beginning of a block to its step `in_block`.
  void skip_to(Index in_block) {
    const Index words = sizeof(T) == 4 ? 2 : 4;  // of every lane in a unit
    if (way() == Way::fill) discard(in_block * L_ * row_words<T>(law_.law, d_));
    if (way() == Way::draw) discard(in_block * L_ * (d_ / unit) * words);
    if (way() == Way::ahead) {
      discard(in_block / ahead_ * (padded(ahead_ * L_ * d_) / unit) * words);
      fill_normal(source_.g, tails_.data(), padded(ahead_ * L_ * d_));
    }
  }
  void discard(Index words) {
    for (Index i = 0; i < words; ++i)
      for (int g = 0; g < Lanes::groups; ++g) source_.g.next(g);
  }

  TokenSettings law_;
  Index L_, d_, block_, ahead_;
  int noise_k_;
  LineVector<T> tails_;  // of a block; or the steps drawn ahead
  LineVector<double> noise_;
  Draw<T> source_;
  const void* owner_ = nullptr;
  std::uint64_t seed_ = 0;
  std::uint32_t run_ = 0;
  Index step_ = -1;
};

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
