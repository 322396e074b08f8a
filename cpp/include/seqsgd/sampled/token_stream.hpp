// The data of a sampled run: where in its streams a step's draws are, and how to start in the
// middle.
//
// Steps are grouped in blocks of a length that depends on L and d alone; block b of run r is
// addressed by (seed, data, r, b).
#pragma once

#include <algorithm>
#include <vector>

#include "seqsgd/random/token_laws.hpp"
#include "seqsgd/sampled/project.hpp"
#include "seqsgd/state/sphere.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

// About 32768 normals to a block, so that starting one costs nothing.
inline Index block_steps(Index L, Index d) {
  Index b = 1;
  while (b < 4096 && 2 * b * L * d <= 32768) b *= 2;
  return b;
}

// Short steps are drawn ahead, a chunk of several while the chunk before it is used, so that the
// processor has something to do while a step's few numbers go from one operation to the next; long
// steps are drawn as they are needed.
inline Index steps_ahead(Index L, Index d) {
  if (L * d > 512) return 0;
  Index n = 1;
  while (2 * n * L * d <= 2048 && 2 * n <= block_steps(L, d)) n *= 2;
  return n;
}

template <class T>
class TokenStream {
 public:
  TokenStream(const TokenSettings& law, Index L, Index d, int noise_k)
      : law_(law),
        L_(L),
        d_(d),
        block_(block_steps(L, d)),
        ahead_(law.law == TokenLaw::gaussian ? steps_ahead(L, d) : 0),
        noise_k_(noise_k),
        chunk_(padded(ahead_ * L * d)),
        tails_((ahead_ ? 2 * chunk_ : padded(block_ * L * (d % draw_size))) + draw_size),
        stock_(staged ? stretch : 0),
        noise_(padded(block_ * noise_k)) {
    while ((Index(1) << log2_ahead_) < ahead_) ++log2_ahead_;
  }

  bool at(const void* owner, Index step) const { return owner == owner_ && step == step_; }
  Index block_length() const { return block_; }

  // How a step's tokens are had: by drawing them while they are used, by `ahead()`, or by `fill`.
  enum class Mode { fused, prefetched, materialised };
  Mode mode() const {
    return law_.law != TokenLaw::gaussian ? Mode::materialised
           : ahead_                       ? Mode::prefetched
                                          : Mode::fused;
  }

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
    source_.tails = tails_.data() + in_block() * L_ * (d_ % draw_size);
    source_.stock = stock_.data();
    source_.left = L_ * (d_ / draw_size) * draw_size;
    return source_;
  }
  // This step's tokens, drawn already: (L, d) without gaps.
  const T* ahead() const { return tails_.data() + current_ + in_chunk() * L_ * d_; }
  // A step's share of the next chunk; once in every step, best while there is something to wait
  // for.
  SEQSGD_INLINE void draw_ahead() {
    const Index begin = drawn_, end = share_end(in_chunk());
    if (begin == end) return;
    if (begin == 0 && ((step_ + ahead_) & (block_ - 1)) < ahead_)
      source_.g = lanes_of(step_ / block_ + 1);
    fill_normal(source_.g, tails_.data() + (chunk_ - current_) + begin, end - begin);
    drawn_ = end;
  }
  // Other laws: fill rows with this step's tokens.
  void fill(T* X, Index stride) { fill_tokens(law_, source_.g, L_, d_, X, stride); }
  // The step is over.
  void next() {
    ++step_;
    if (in_block() == 0) begin_block();
    if (ahead_ && in_chunk() == 0) {
      current_ = chunk_ - current_;
      drawn_ = 0;
    }
  }
  // Label noise of this step, or null.
  const double* noise() const { return noise_k_ ? noise_.data() + in_block() * noise_k_ : nullptr; }

 private:
  Index in_block() const { return step_ & (block_ - 1); }  // powers of two
  Index in_chunk() const { return step_ & (ahead_ - 1); }
  // Normals of the next chunk drawn by the end of the i-th step of this one. Staged draws are too
  // long for the processor to see beyond: all at once.
  Index share_end(Index i) const {
    return staged ? (i + 1 < ahead_ ? 0 : chunk_)
                  : ((i + 1) * (chunk_ / draw_size) >> log2_ahead_) * draw_size;
  }
  Xoshiro16 lanes_of(Index block) const {
    return Xoshiro16(Address{seed_, Stream::data, run_, std::uint64_t(block)});
  }
  void begin_block() {
    if (!ahead_) source_.g = lanes_of(step_ / block_);
    if (mode() == Mode::fused)
      fill_normal(source_.g, tails_.data(), padded(block_ * L_ * (d_ % draw_size)));
    if (noise_k_) {
      Xoshiro16 g(Address{seed_, Stream::noise, run_, std::uint64_t(step_ / block_)});
      fill_normal(g, noise_.data(), padded(block_ * noise_k_));
    }
  }
  // From the beginning of a block to its step `in_block`.
  void skip_to(Index in_block) {
    const Index words = sizeof(T) == 4 ? 2 : 4;  // of every lane in a unit
    if (mode() == Mode::materialised) discard(in_block * L_ * row_words<T>(law_.law, d_));
    if (mode() == Mode::fused) discard(in_block * L_ * (d_ / draw_size) * words);
    if (mode() == Mode::prefetched) {
      source_.g = lanes_of(step_ / block_);
      discard(in_block / ahead_ * (chunk_ / draw_size) * words);
      fill_normal(source_.g, tails_.data(), chunk_);
      current_ = drawn_ = 0;
      const Index here = step_;
      for (step_ -= in_chunk(); step_ < here; ++step_) draw_ahead();
    }
  }
  void discard(Index words) {
    for (Index i = 0; i < words; ++i)
      for (int g = 0; g < Xoshiro16::groups; ++g) source_.g.next(g);
  }

  TokenSettings law_;
  Index L_, d_, block_, ahead_;
  int noise_k_;
  int log2_ahead_ = 0;
  Index chunk_,
      current_ = 0,
      drawn_ = 0;        // normals in a chunk; where this one begins; how much of the next is there
  LineVector<T> tails_;  // of a block; or two chunks of steps drawn ahead
  LineVector<T> stock_;
  LineVector<double> noise_;
  Draw<T> source_;
  const void* owner_ = nullptr;
  std::uint64_t seed_ = 0;
  std::uint32_t run_ = 0;
  Index step_ = -1;
};

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
