// A group of runs of the reduced dynamics, in the lanes of a few packs: their coordinates, their
// random streams, and what becomes of a step's outcome. How a step is made is in field_kernel.hpp
// and sum_kernel.hpp. Exact in law at any d (docs/reduced.md); nothing here costs more for a larger
// d.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "seqsgd/reduced/kernels/field_kernel.hpp"
#include "seqsgd/reduced/kernels/sum_kernel.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

class LaneGroup {
 public:
  using V = Pack;
  LaneGroup(const Task& task, const Settings& s, const Coordinates& c, const DrawLayout& layout)
      : task_(task),
        s_(s),
        c_(c),
        layout_(layout),
        coords_(2 * layout.packs_together() * c.size()),
        P_(c.encoded ? layout.packs_together() * c.L * (c.r + 1) : 0),
        outside_(c.encoded && c.shared ? layout.packs_together() * (c.r + 1) : 0),
        sum_rows_(layout.sum_kernel
                      ? layout.packs_together() * c.n *
                            Index(layout.single ? sizeof(SumRow<float>) : sizeof(SumRow<double>))
                      : 0) {
    state_ = {coords_.data(), sum_rows_.data(),
              P_.data(),      outside_.data(),
              run_,           layout.mixed ? variance_of_sum(s, c.L) : double(c.L)};
    state_.root_ones = std::sqrt(state_.ones);
  }
  LaneGroup(const LaneGroup&) = delete;
  // Of such a group.
  static double bytes(const Coordinates& c, const DrawLayout& layout) {
    const double positional = c.encoded ? double(c.L + c.shared) * double(c.r + 1) : 0;
    const double sum_rows =
        layout.sum_kernel
            ? double(c.n) * double(layout.single ? sizeof(SumRow<float>) : sizeof(SumRow<double>))
            : 0;
    return double(layout.packs_together()) *
               (double(sizeof(Pack)) * (2 * double(c.size()) + positional) + sum_rows) +
           double(sizeof(LaneGroup)) + 1024;
  }

  // The run of a lane, at(size, 2) as high and low halves. All lanes are to be at one step; lanes
  // without a run repeat the first.
  void load(int lane, std::uint32_t run, const double* at, const ReducedStart& start,
            const Progress& p) {
    run_[lane] = run;
    each_coordinate(lane, [&](double& x, Index i) {  // low parts that single precision does not
                                                     // hold are of a state that was not saved here
      double pair[2] = {at[i & ~Index(1)], at[i | 1]};
      if (layout_.sum_kernel && layout_.single && double(float(pair[1])) != pair[1])
        two_sum(layout_.squared(c_, i / 2 % (c_.r + 2)), pair[0], pair[1]);
      x = pair[i & 1];
    });
    const Index pack = lane / Pack::size, i = lane % Pack::size;
    for (Index k = 0; k < start.P.size(); ++k) P_[pack * start.P.size() + k][i] = start.P[k];
    for (Index k = 0; k < start.outside.size(); ++k)
      outside_[pack * start.outside.size() + k][i] = start.outside[k];
    loss_sum_[pack][i] = p.loss_sum;
    loss_[pack][i] = p.loss_last;
  }
  void unload(int lane, double* at) {
    from_sum_rows();
    each_coordinate(lane, [&](double& x, Index i) { at[i] = x; });
  }
  double loss_sum(int lane) const { return loss_sum_[lane / Pack::size][lane % Pack::size]; }
  double loss_last(int lane) const { return loss_[lane / Pack::size][lane % Pack::size]; }
  void forget_losses() {
    for (V& x : loss_sum_) x = V{};
  }
  Index step() const { return step_; }

  // Lanes that are watched for a passage, and for values that are not finite.
  void watch(int lane, bool passage, bool alive) {
    seeks_[lane / Pack::size][lane % Pack::size] = passage ? -1 : 0;
    lives_[lane / Pack::size][lane % Pack::size] = alive ? -1 : 0;
    if (alive) state_.take(lane + 1);
  }

  // Go to a step of the runs' streams.
  void seek(Index step) {
    step_ = step;
    to_sum_rows();
    begin_block();
    const Index done = step & (layout_.block - 1);
    with_data([&](auto& g) { g.skip(done * layout_.words); });
    noise_.skip(done * even(layout_.noise));
  }

  // What happened in a step, by lane. To be empty before.
  struct Events {
    PackMask passage[group_packs]{}, nonfinite[group_packs]{};
  };

  // One step. True if something happened.
  bool step(ReducedWorkspace& ws, double gamma, Events& events) {
    if ((step_ & (layout_.block - 1)) == 0 && step_ != begun_) begin_block();
    if (layout_.noise)
      for (int pack = 0; pack < state_.packs_taken; ++pack)
        draw_doubles(noise_, pack, layout_.noise, ws.noise.data() + pack * even(layout_.noise));
    return layout_.single ? step_from(single_, ws, gamma, events)
                          : step_from(double_, ws, gamma, events);
  }

 private:
  template <class F>
  void each_coordinate(int lane, F f) {
    const Index n = 2 * c_.size();
    V* from = coords_.data() + lane / Pack::size * n;
    for (Index i = 0; i < n; ++i) {
      double x = from[i][lane % Pack::size];
      f(x, i);
      from[i][lane % Pack::size] = x;
    }
  }
  static double variance_of_sum(const Settings& s, Index L) {
    double v = 0;
    for (Index k = 0; k < L; ++k) {
      double f = 0;
      for (Index i = k; i < L; ++i) f += s.tokens.factor.F[i * L + k];
      v += f * f;
    }
    return v;
  }

  void begin_block() {
    begun_ = step_;
    const std::uint64_t b = std::uint64_t(step_ / layout_.block);
    for (int i = 0; i < state_.packs_taken * Pack::size; ++i) {
      with_data([&](auto& g) { g.seed(i, Address{s_.seed, Stream::data, run_[i], b}); });
      if (layout_.noise) noise_.seed(i, Address{s_.seed, Stream::noise, run_[i], b});
    }
  }
  // Belongs to the step that is the last before it, so that it does not depend on when somebody
  // pauses or resumes.
  void flush_compensation() {
    from_sum_rows();
    for (Index pack = 0; pack < state_.packs_taken; ++pack) {
      V q{};
      for (Index i = 0; i < c_.n; ++i) q += flush_compensation(pack, i);
      if (s_.spheres.one()) to_sphere(pack, 0, c_.n, q / double(c_.n));
    }
    to_sum_rows();
  }

  // f(coordinates, row of SumKernel) for all of them.
  template <class F>
  void each_sum_row(F f) {
    if (!layout_.sum_kernel) return;
    const auto all = [&](auto* rows) {
      for (Index i = 0; i < state_.packs_taken * c_.n; ++i) f(coords_.data() + 4 * i, rows[i]);
    };
    layout_.single ? all(static_cast<SumRow<float>*>(state_.sum_rows))
                   : all(static_cast<SumRow<double>*>(state_.sum_rows));
  }
  void from_sum_rows() {
    each_sum_row(
        [](V* c, const auto& row) { c[1] = widened(row.dm), c[3] = widened(row.dsquare); });
  }
  void to_sum_rows() {
    each_sum_row([](const V* c, auto& row) { row.go_to(c); });
  }

  // Brings the sums of increments into the coordinates; returns the squared length.
  V flush_compensation(Index pack, Index i) {
    V *c = at(pack, i), q{};
    for (Index k = 0; k < c_.r + 2; ++k, c += 2) {
      two_sum(layout_.squared(c_, k), c[0], c[1]);
      q += c[0] * c[0];
    }
    if (!s_.spheres.one()) to_sphere(pack, i, 1, q);
    return q;
  }
  // Rows i, i + 1, ... back to the sphere should rounding have moved them by more than its own
  // size. (In single precision a step's terms cancel near a pole, and what is left of them adds
  // up.)
  void to_sphere(Index pack, Index i, Index rows, V q) {
    const PackMask off = absolute(q - 1.0) > (layout_.sum_kernel && layout_.single ? 4e-16 : 1e-13);
    if (!any(off)) return;
    const V f = choose(off, 1.0 / root(q), V{} + 1.0);
    V* c = at(pack, i);
    for (Index k = 0; k < rows * 2 * (c_.r + 2); ++k) c[k] *= f;
  }

  V* at(Index pack, Index i) { return coords_.data() + 2 * (c_.r + 2) * (pack * c_.n + i); }

  template <class F>
  SEQSGD_INLINE void with_data(F f) {
    layout_.single ? f(single_) : f(double_);
  }
  // The cases that the compiler knows, the commonest first.
  template <class T>
  bool step_from(RunGenerators<T>& g, ReducedWorkspace& ws, double gamma, Events& events) {
    const auto step = [&](auto by) {
      return step_by(typename decltype(by)::type(task_, s_, c_, layout_, ws, state_, step_), g, ws,
                     gamma, events);
    };
    if (layout_.sum_kernel)
      return c_.shared ? step(Is<SumKernel<T, true>>()) : step(Is<SumKernel<T, false>>());
    const bool common = layout_.common && c_.shared && !layout_.sums;
    if (common && c_.r == 0 && !c_.encoded) return step(Is<FieldKernel<KernelKind<0, true>, T>>());
    if (common && c_.r == 1) return step(Is<FieldKernel<KernelKind<1, true, true>, T>>());
    if (c_.r == 0) return step(Is<FieldKernel<KernelKind<0>, T>>());
    if (c_.r == 1 && c_.rest) return step(Is<FieldKernel<KernelKind<1>, T>>());
    return step(Is<FieldKernel<KernelKind<-1>, T>>());
  }
  template <class Step>
  struct Is {
    using type = Step;
  };
  template <class Step, class T>
  bool step_by(Step by, RunGenerators<T>& g, ReducedWorkspace& ws, double gamma, Events& events) {
    V loss[group_packs], overlap[group_packs];
    const double gamma_d =
        std::isfinite(gamma) ? gamma / double(s_.d) : 0;  // else no lane is sound below
    by.draw_fields(g, state_.packs_taken, loss);
    // Nothing throws from here on.
    PackMask sound[group_packs];
    const bool stopped = check_finite(ws, gamma, loss, sound, events);
    by.move(g, state_.packs_taken, gamma_d, overlap);
    return finish(overlap, sound, events) || stopped;
  }

  // A step too large to be squared is not taken. True if a lane that is watched stops for it.
  SEQSGD_INLINE bool check_finite(ReducedWorkspace& ws, double gamma, const V (&loss)[group_packs],
                                  PackMask (&sound)[group_packs], Events& events) {
    const double limit = 1e140 / std::max(1.0, std::fabs(gamma));
    bool all_sound = true;
    for (int pack = 0; pack < state_.packs_taken; ++pack) {
      V* delta = ws.delta.data() + pack * ws.seen;
      V size{};
      for (Index l = 0; l < ws.seen; ++l) size += absolute(delta[l]);
      sound[pack] = size + 0.0 * loss[pack] < limit;  // not if the loss is no number
      all_sound &= all(sound[pack]);
    }
    if (__builtin_expect(!all_sound, 0)) return drop_nonfinite(ws, loss, sound, events);
    for (int pack = 0; pack < state_.packs_taken; ++pack) {
      loss_[pack] = loss[pack];
      loss_sum_[pack] += loss[pack];
    }
    return false;
  }
  __attribute__((noinline)) bool drop_nonfinite(ReducedWorkspace& ws, const V (&loss)[group_packs],
                                                const PackMask (&sound)[group_packs],
                                                Events& events) {
    bool stopped = false;
    events = Events();
    for (int pack = 0; pack < state_.packs_taken; ++pack) {
      V* delta = ws.delta.data() + pack * ws.seen;
      for (Index l = 0; l < ws.seen; ++l) delta[l] = choose(sound[pack], delta[l], V{});
      events.nonfinite[pack] = ~sound[pack] & lives_[pack];
      stopped |= any(events.nonfinite[pack]);
      loss_[pack] = choose(sound[pack], loss[pack], loss_[pack]);
      loss_sum_[pack] += choose(sound[pack], loss[pack], V{});
    }
    return stopped;
  }
  SEQSGD_INLINE bool finish(const V (&overlap)[group_packs], const PackMask (&sound)[group_packs],
                            Events& events) {
    ++step_;
    if ((step_ & (layout_.flush_interval - 1)) == 0) flush_compensation();
    if (s_.plan.eta <= 0) return false;
    const double eta2 = s_.plan.eta * s_.plan.eta;
    bool passed = false;
    for (int pack = 0; pack < state_.packs_taken; ++pack) {
      events.passage[pack] = (overlap[pack] >= eta2) & seeks_[pack] & sound[pack];
      passed |= any(events.passage[pack]);
    }
    return passed;
  }

  const Task& task_;
  const Settings& s_;
  const Coordinates& c_;
  const DrawLayout& layout_;
  LineVector<V> coords_;   // (packs, n, r + 2, 2): coordinates, each with the sum of its increments
                           // (DrawLayout::squared: those of its square) since they were flushed
  LineVector<V> P_;        // (packs, L, r + 1)
  LineVector<V> outside_;  // (packs, r + 1)
  LineVector<unsigned char> sum_rows_;  // (packs, n) SumRow
  LaneGroupState state_;
  V loss_sum_[group_packs]{}, loss_[group_packs]{};
  PackMask seeks_[group_packs]{}, lives_[group_packs]{};
  std::uint32_t run_[group_size]{};
  RunGenerators<float> single_;  // the data stream, in one of the two precisions
  RunGenerators<double> double_, noise_;
  Index step_ = 0, begun_ = -1;
};

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
