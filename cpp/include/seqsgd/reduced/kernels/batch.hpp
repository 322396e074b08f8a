// A batch of runs of the reduced dynamics side by side: their coordinates, their random streams,
// and what becomes of a step's outcome. How a step is made is in reduced_step.hpp and
// reduced_lean.hpp. Exact in law at any d (docs/reduced.md); nothing here costs more for a larger
// d.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "seqsgd/reduced/kernels/lean.hpp"
#include "seqsgd/reduced/kernels/step.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

class ReducedBatch {
 public:
  using V = Runs;
  ReducedBatch(const Task& task, const Settings& s, const Coordinates& c, const ReducedDraws& draws)
      : task_(task),
        s_(s),
        c_(c),
        draws_(draws),
        at_(std::size_t(2 * draws.parts_together() * c.size())),
        P_(std::size_t(c.encoded ? draws.parts_together() * c.L * (c.r + 1) : 0)),
        outside_(std::size_t(c.encoded && c.shared ? draws.parts_together() * (c.r + 1) : 0)),
        lean_(std::size_t(
            draws.lean ? draws.parts_together() * c.n *
                             Index(draws.single ? sizeof(LeanRow<float>) : sizeof(LeanRow<double>))
                       : 0)) {
    state_ = {at_.data(),      lean_.data(), P_.data(),
              outside_.data(), run_,         draws.mixed ? variance_of_sum(s, c.L) : double(c.L)};
    state_.root_ones = std::sqrt(state_.ones);
  }
  ReducedBatch(const ReducedBatch&) = delete;
  // Of such a batch.
  static double bytes(const Coordinates& c, const ReducedDraws& draws) {
    const double positional = c.encoded ? double(c.L + c.shared) * double(c.r + 1) : 0;
    const double lean = draws.lean ? double(c.n) * double(draws.single ? sizeof(LeanRow<float>)
                                                                       : sizeof(LeanRow<double>))
                                   : 0;
    return double(draws.parts_together()) *
               (double(sizeof(Runs)) * (2 * double(c.size()) + positional) + lean) +
           double(sizeof(ReducedBatch)) + 1024;
  }

  // The run of a lane, at(size, 2) as high and low parts. All lanes are to be at one step; lanes
  // without a run repeat the first.
  void load(int lane, std::uint32_t run, const double* at, const ReducedStart& start,
            const Progress& p) {
    run_[lane] = run;
    each_coordinate(lane, [&](double& x, Index i) {  // low parts that single precision does not
                                                     // hold are of a state that was not saved here
      double pair[2] = {at[i & ~Index(1)], at[i | 1]};
      if (draws_.lean && draws_.single && double(float(pair[1])) != pair[1])
        take_increments(draws_.squared(c_, i / 2 % (c_.r + 2)), pair[0], pair[1]);
      x = pair[i & 1];
    });
    const Index h = lane / wide, i = lane % wide;
    for (std::size_t k = 0; k < start.P.size(); ++k)
      P_[std::size_t(h) * start.P.size() + k][i] = start.P[k];
    for (std::size_t k = 0; k < start.outside.size(); ++k)
      outside_[std::size_t(h) * start.outside.size() + k][i] = start.outside[k];
    loss_sum_[h][i] = p.loss_sum;
    loss_[h][i] = p.loss_last;
  }
  void unload(int lane, double* at) {
    from_lean();
    each_coordinate(lane, [&](double& x, Index i) { at[i] = x; });
  }
  double loss_sum(int lane) const { return loss_sum_[lane / wide][lane % wide]; }
  double loss_last(int lane) const { return loss_[lane / wide][lane % wide]; }
  void forget_losses() {
    for (V& x : loss_sum_) x = V{};
  }
  Index step() const { return step_; }

  // Lanes that are watched for a passage, and for values that are not finite.
  void watch(int lane, bool passage, bool alive) {
    seeks_[lane / wide][lane % wide] = passage ? -1 : 0;
    lives_[lane / wide][lane % wide] = alive ? -1 : 0;
    if (alive) state_.take(lane + 1);
  }

  // Go to a step of the runs' streams.
  void seek(Index step) {
    step_ = step;
    to_lean();
    begin_block();
    const Index done = step & (draws_.block - 1);
    with_data([&](auto& g) { g.skip(done * draws_.words); });
    noise_.skip(done * even(draws_.noise));
  }

  // What happened in a step, by lane. To be empty before.
  struct Events {
    RunMask passage[parts]{}, nonfinite[parts]{};
  };

  // One step. True if something happened.
  bool step(ReducedWorkspace& ws, double gamma, Events& events) {
    if ((step_ & (draws_.block - 1)) == 0 && step_ != begun_) begin_block();
    if (draws_.noise)
      for (int h = 0; h < state_.parts_taken; ++h)
        draw_doubles(noise_, h, draws_.noise, ws.noise.data() + h * even(draws_.noise));
    return draws_.single ? step_from(single_, ws, gamma, events)
                         : step_from(double_, ws, gamma, events);
  }

 private:
  template <class F>
  void each_coordinate(int lane, F f) {
    const Index n = 2 * c_.size();
    V* from = at_.data() + lane / wide * n;
    for (Index i = 0; i < n; ++i) {
      double x = from[i][lane % wide];
      f(x, i);
      from[i][lane % wide] = x;
    }
  }
  static double variance_of_sum(const Settings& s, Index L) {
    double v = 0;
    for (Index k = 0; k < L; ++k) {
      double f = 0;
      for (Index i = k; i < L; ++i) f += s.tokens.factor.F[std::size_t(i * L + k)];
      v += f * f;
    }
    return v;
  }

  void begin_block() {
    begun_ = step_;
    const std::uint64_t b = std::uint64_t(step_ / draws_.block);
    for (int i = 0; i < state_.parts_taken * wide; ++i) {
      with_data([&](auto& g) { g.seed(i, Address{s_.seed, Stream::data, run_[i], b}); });
      if (draws_.noise) noise_.seed(i, Address{s_.seed, Stream::noise, run_[i], b});
    }
  }
  // Belongs to the step that is the last before it, so that it does not depend on when somebody
  // pauses or resumes.
  void settle() {
    from_lean();
    for (Index h = 0; h < state_.parts_taken; ++h) {
      V q{};
      for (Index i = 0; i < c_.n; ++i) q += settle(h, i);
      if (s_.spheres.one()) to_sphere(h, 0, c_.n, q / double(c_.n));
    }
    to_lean();
  }

  // f(coordinates, row of LeanStep) for all of them.
  template <class F>
  void each_lean(F f) {
    if (!draws_.lean) return;
    const auto all = [&](auto* rows) {
      for (Index i = 0; i < state_.parts_taken * c_.n; ++i) f(at_.data() + 4 * i, rows[i]);
    };
    draws_.single ? all(static_cast<LeanRow<float>*>(state_.lean))
                  : all(static_cast<LeanRow<double>*>(state_.lean));
  }
  void from_lean() {
    each_lean([](V* c, const auto& row) { c[1] = widened(row.dm), c[3] = widened(row.dsquare); });
  }
  void to_lean() {
    each_lean([](const V* c, auto& row) { row.go_to(c); });
  }

  // Brings the sums of increments into the coordinates; returns the squared length.
  V settle(Index h, Index i) {
    V *c = at(h, i), q{};
    for (Index k = 0; k < c_.r + 2; ++k, c += 2) {
      take_increments(draws_.squared(c_, k), c[0], c[1]);
      q += c[0] * c[0];
    }
    if (!s_.spheres.one()) to_sphere(h, i, 1, q);
    return q;
  }
  // Rows i, i + 1, ... back to the sphere should rounding have moved them by more than its own
  // size. (In single precision a step's parts cancel near a pole, and what is left of them adds
  // up.)
  void to_sphere(Index h, Index i, Index rows, V q) {
    const RunMask off = absolute(q - 1.0) > (draws_.lean && draws_.single ? 4e-16 : 1e-13);
    if (!any(off)) return;
    const V f = choose(off, 1.0 / root(q), V{} + 1.0);
    V* c = at(h, i);
    for (Index k = 0; k < rows * 2 * (c_.r + 2); ++k) c[k] *= f;
  }

  V* at(Index h, Index i) { return at_.data() + 2 * (c_.r + 2) * (h * c_.n + i); }

  template <class F>
  SEQSGD_INLINE void with_data(F f) {
    draws_.single ? f(single_) : f(double_);
  }
  // The cases that the compiler knows, the commonest first.
  template <class T>
  bool step_from(RunLanes<T>& g, ReducedWorkspace& ws, double gamma, Events& events) {
    const auto step = [&](auto by) {
      return step_by(typename decltype(by)::type(task_, s_, c_, draws_, ws, state_, step_), g, ws,
                     gamma, events);
    };
    if (draws_.lean)
      return c_.shared ? step(Is<LeanStep<T, true>>()) : step(Is<LeanStep<T, false>>());
    const bool common = draws_.common && c_.shared && !draws_.sums;
    if (common && c_.r == 0 && !c_.encoded) return step(Is<ReducedStep<StepKind<0, true>, T>>());
    if (common && c_.r == 1) return step(Is<ReducedStep<StepKind<1, true, true>, T>>());
    if (c_.r == 0) return step(Is<ReducedStep<StepKind<0>, T>>());
    if (c_.r == 1 && c_.rest) return step(Is<ReducedStep<StepKind<1>, T>>());
    return step(Is<ReducedStep<StepKind<-1>, T>>());
  }
  template <class Step>
  struct Is {
    using type = Step;
  };
  template <class Step, class T>
  bool step_by(Step by, RunLanes<T>& g, ReducedWorkspace& ws, double gamma, Events& events) {
    V loss[parts], overlap[parts];
    const double gamma_d =
        std::isfinite(gamma) ? gamma / double(s_.d) : 0;  // else no lane is sound below
    by.ask(g, state_.parts_taken, loss);
    // Nothing throws from here on.
    RunMask sound[parts];
    const bool stopped = judge(ws, gamma, loss, sound, events);
    by.move(g, state_.parts_taken, gamma_d, overlap);
    return finish(overlap, sound, events) || stopped;
  }

  // A step too large to be squared is not taken. True if a lane that is watched stops for it.
  SEQSGD_INLINE bool judge(ReducedWorkspace& ws, double gamma, const V (&loss)[parts],
                           RunMask (&sound)[parts], Events& events) {
    const double limit = 1e140 / std::max(1.0, std::fabs(gamma));
    bool all_sound = true;
    for (int h = 0; h < state_.parts_taken; ++h) {
      V* delta = ws.delta.data() + h * ws.seen;
      V size{};
      for (Index l = 0; l < ws.seen; ++l) size += absolute(delta[l]);
      sound[h] = size + 0.0 * loss[h] < limit;  // not if the loss is no number
      all_sound &= all(sound[h]);
    }
    if (__builtin_expect(!all_sound, 0)) return refuse(ws, loss, sound, events);
    for (int h = 0; h < state_.parts_taken; ++h) {
      loss_[h] = loss[h];
      loss_sum_[h] += loss[h];
    }
    return false;
  }
  __attribute__((noinline)) bool refuse(ReducedWorkspace& ws, const V (&loss)[parts],
                                        const RunMask (&sound)[parts], Events& events) {
    bool stopped = false;
    events = Events();
    for (int h = 0; h < state_.parts_taken; ++h) {
      V* delta = ws.delta.data() + h * ws.seen;
      for (Index l = 0; l < ws.seen; ++l) delta[l] = choose(sound[h], delta[l], V{});
      events.nonfinite[h] = ~sound[h] & lives_[h];
      stopped |= any(events.nonfinite[h]);
      loss_[h] = choose(sound[h], loss[h], loss_[h]);
      loss_sum_[h] += choose(sound[h], loss[h], V{});
    }
    return stopped;
  }
  SEQSGD_INLINE bool finish(const V (&overlap)[parts], const RunMask (&sound)[parts],
                            Events& events) {
    ++step_;
    if ((step_ & (draws_.settling - 1)) == 0) settle();
    if (s_.plan.eta <= 0) return false;
    const double eta2 = s_.plan.eta * s_.plan.eta;
    bool passed = false;
    for (int h = 0; h < state_.parts_taken; ++h) {
      events.passage[h] = (overlap[h] >= eta2) & seeks_[h] & sound[h];
      passed |= any(events.passage[h]);
    }
    return passed;
  }

  const Task& task_;
  const Settings& s_;
  const Coordinates& c_;
  const ReducedDraws& draws_;
  LineVector<V> at_;       // (parts, n, r + 2, 2): coordinates, each with the sum of its increments
                           // (ReducedDraws::squared: those of its square) since they were settled
  LineVector<V> P_;        // (parts, L, r + 1)
  LineVector<V> outside_;  // (parts, r + 1)
  LineVector<unsigned char> lean_;  // (parts, n) LeanRow
  BatchState state_;
  V loss_sum_[parts]{}, loss_[parts]{};
  RunMask seeks_[parts]{}, lives_[parts]{};
  std::uint32_t run_[batch]{};
  RunLanes<float> single_;  // the data stream, in one of the two precisions
  RunLanes<double> double_, noise_;
  Index step_ = 0, begun_ = -1;
};

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
