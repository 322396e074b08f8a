// A batch of runs of the reduced dynamics side by side, one to a lane: draws the fields and one chi-square per weight vector, asks the task for delta and
// moves the coordinates. Exact in law at any d (docs/reduced.md); nothing here costs more for a larger d.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "reduced_untied.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

class ReducedBatch {
 public:
  using V = simd::f64;
  ReducedBatch(const Task& task, const Settings& s, const Coordinates& c, const ReducedDraws& draws)
      : task_(task), s_(s), c_(c), draws_(draws), at_(std::size_t(2 * parts * c.size())), P_(std::size_t(c.encoded ? parts * c.L * (c.r + 1) : 0)),
        outside_(std::size_t(c.encoded && c.shared ? parts * (c.r + 1) : 0)), ones_(draws.mixed ? variance_of_sum(s, c.L) : double(c.L)) {}

  // The run of a lane, at(size, 2) as high and low parts. All lanes are to be at one step; lanes without a run repeat the first.
  void load(int lane, std::uint32_t run, const double* at, const ReducedStart& start, const Progress& p) {
    run_[lane] = run;
    each_coordinate(lane, [&](double& x, Index i) { x = at[i]; });
    const Index h = lane / wide, i = lane % wide;
    for (std::size_t k = 0; k < start.P.size(); ++k) P_[std::size_t(h) * start.P.size() + k][i] = start.P[k];
    for (std::size_t k = 0; k < start.outside.size(); ++k) outside_[std::size_t(h) * start.outside.size() + k][i] = start.outside[k];
    loss_sum_[h][i] = p.loss_sum;
    loss_[h][i] = p.loss_last;
  }
  void unload(int lane, double* at) {
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
  }

  // Go to a step of the runs' streams.
  void seek(Index step) {
    step_ = step;
    begin_block();
    const Index done = step & (draws_.block - 1);
    with_data([&](auto& g) { g.skip(done * draws_.words); });
    noise_.skip(done * even(draws_.noise));
  }

  // What happened in a step, by lane.
  struct Events {
    simd::i64 passage[parts], nonfinite[parts];
  };

  // One step. True if something happened.
  bool step(ReducedWorkspace& ws, double gamma, Events& events) {
    if ((step_ & (draws_.block - 1)) == 0 && step_ != begun_) begin_block();
    if (draws_.noise) draw_normals(noise_, draws_.noise, ws.noise.data(), even(draws_.noise));
    if (draws_.lean) return draws_.single ? step_lean(single_, ws, gamma, events) : step_lean(double_, ws, gamma, events);
    with_data([&](auto& g) SEQSGD_LAMBDA_INLINE {
      draw_normals(g, draws_.star + draws_.field, ws.fresh.data(), ws.stride);
      if (draws_.squares.uniform()) draw_uniforms(g, ws.fresh.data() + ws.stride - 1, ws.stride);
    });
    if (plain_) return step_as<plain>(ws, gamma, events);
    if (c_.r == 0) return step_as<0>(ws, gamma, events);
    if (c_.r == 1 && c_.rest) return step_as<1>(ws, gamma, events);
    return step_as<many>(ws, gamma, events);
  }

 private:
  static constexpr int many = -1;  // any number of directions

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
    for (int i = 0; i < batch; ++i) {
      with_data([&](auto& g) { g.seed(i, Address{s_.seed, Stream::data, run_[i], b}); });
      if (draws_.noise) noise_.seed(i, Address{s_.seed, Stream::noise, run_[i], b});
    }
  }
  // Belongs to the step that ends a block, so that it does not depend on when somebody pauses or resumes.
  void end_block() {
    for (Index h = 0; h < parts; ++h) {
      V q{};
      for (Index i = 0; i < c_.n; ++i) q += settle(h, i);
      if (s_.weights == Weights::global) to_sphere(h, 0, c_.n, q / double(c_.n));
    }
  }

  // Brings the sums of increments into the coordinates; returns the squared length.
  V settle(Index h, Index i) {
    V *c = at(h, i), q{};
    for (Index k = 0; k < c_.r + 2; ++k, c += 2) {
      const V sum = c[0] + c[1], part = sum - c[0];
      c[1] = (c[0] - (sum - part)) + (c[1] - part);
      c[0] = sum;
      q += sum * sum;
    }
    if (s_.weights != Weights::global) to_sphere(h, i, 1, q);
    return q;
  }
  // Rows i, i + 1, ... back to the sphere should rounding have moved them by more than its own size.
  void to_sphere(Index h, Index i, Index rows, V q) {
    const simd::i64 off = absolute(q - 1.0) > 1e-13;
    if (!simd::any(off)) return;
    const V f = off ? 1.0 / root(q) : V{} + 1.0;
    V* c = at(h, i);
    for (Index k = 0; k < rows * 2 * (c_.r + 2); ++k) c[k] *= f;
  }

  static SEQSGD_INLINE V value(const V* c, Index k) { return c[2 * k] + c[2 * k + 1]; }
  V* at(Index h, Index i) { return at_.data() + 2 * (c_.r + 2) * (h * c_.n + i); }
  const V* P(Index h, Index l) const { return P_.data() + (c_.r + 1) * (h * c_.L + l); }

  template <class F>
  SEQSGD_INLINE void with_data(F f) {
    draws_.single ? f(single_) : f(double_);
  }
  // Normals (and uniforms, behind them) of the weight vectors i, i + 1, ...
  void draw_own(ReducedWorkspace& ws, Index i) {
    const Index rows = std::min(ReducedDraws::rows_together, c_.n - i);
    with_data([&](auto& g) SEQSGD_LAMBDA_INLINE {
      draw_normals(g, rows * draws_.own, ws.own.data(), ws.own_stride);
      if (draws_.chi.uniform())
        for (Index k = 0; k < rows; ++k) draw_uniforms(g, ws.own.data() + even(rows * draws_.own) + k, ws.own_stride);
    });
  }

  // Independent to correlated normals across tokens, in place.
  void mix(V* x) const {
    const CovarianceFactor& f = s_.tokens.factor;
    for (Index i = c_.L - 1; i >= 0; --i) {
      V& y = x[f.order[std::size_t(i)]];
      y *= f.F[std::size_t(i * c_.L + i)];
      for (Index k = 0; k < i; ++k) y += f.F[std::size_t(i * c_.L + k)] * x[f.order[std::size_t(k)]];
    }
  }
  // delta^T C delta
  V spread(const V* delta) const {
    const CovarianceFactor& f = s_.tokens.factor;
    V q{};
    for (Index k = 0; k < c_.L; ++k) {
      V y{};
      for (Index i = k; i < c_.L; ++i) y += f.F[std::size_t(i * c_.L + k)] * delta[f.order[std::size_t(i)]];
      q += y * y;
    }
    return q;
  }

  // K, the directions of P: 0, 1 with something left beside them, `many`. `plain` is 0 in the commonest case, in which the compiler may leave out what is asked for
  // elsewhere: no P, no directions across, no c, the normalised step, a student of sums, d > 3.
  static constexpr int plain = -2;
  template <int K>
  SEQSGD_INLINE bool encoded() const { return K != plain && c_.encoded; }
  template <int K>
  SEQSGD_INLINE bool rest() const { return K == plain || c_.rest; }

  // Length of what a weight vector has beside w*.
  template <int K>
  SEQSGD_INLINE V beside(const V* c) const {
    if constexpr (K == 0 || K == plain) return value(c, 1);
    V q{};
    for (Index k = 1; k < (K == 1 ? 3 : c_.r + 2); ++k) q += value(c, k) * value(c, k);
    return root(q);
  }
  // e_l + c_l
  template <int K>
  SEQSGD_INLINE V offset(Index h, Index l, const V* c) const {
    V e{};
    if (K == plain) return e;
    if (c_.encoded) {
      const V* p = P(h, l);
      for (Index k = 0; k < (K == 1 ? 2 : c_.r + 1); ++k) e += p[k] * value(c, k);
    }
    if (s_.position == PositionKind::injected) e += s_.c[std::size_t(l)];
    return e;
  }

  auto again(Index h, Index i) const {
    return [this, h, i](int lane) { return OneByOne(Use::again, Address{s_.seed, Stream::data, run_[h * wide + lane], std::uint64_t(step_)}, std::uint32_t(i)); };
  }

  // The fields of part h, and the loss there.
  template <int K>
  SEQSGD_INLINE V ask(ReducedWorkspace& ws, Index h) {
    V *a = ws.fresh.data() + h * ws.stride, *b = a + draws_.star, *z = ws.z.data() + h * ws.seen, *t = ws.t.data() + h * c_.n;
    const V* normals = draws_.noise ? ws.noise.data() + h * even(draws_.noise) : nullptr;
    V *delta = ws.delta.data() + h * ws.seen, sum{}, squares{};
    if (draws_.mixed && !draws_.by_sums) mix(a);
    if (!draws_.sums) {
      if (draws_.mixed) mix(b);
      for (Index l = 0; l < c_.L; ++l) {
        const V* c = at(h, c_.shared ? 0 : l);
        if (l == 0 || !c_.shared) t[l] = beside<K>(c);
        z[l] = value(c, 0) * a[l] + t[c_.shared ? 0 : l] * b[l] + offset<K>(h, l, c);
      }
    } else if (c_.shared) {
      const V* c = at(h, 0);
      t[0] = beside<K>(c);
      b[0] *= root_ones_;
      if (draws_.by_sums) {
        sum = a[0] * root_ones_;
        if (draws_.squares.dof > 0) squares = a[0] * a[0] + draws_.squares.draw(a[1], ws.fresh[std::size_t((h + 1) * ws.stride - 1)], again(h, c_.n));
        else squares = a[0] * a[0];
      } else {
        for (Index l = 0; l < c_.L; ++l) sum += a[l];
      }
      ws.total[std::size_t(h)] = sum;
      z[0] = value(c, 0) * sum + t[0] * b[0];
      if (K != plain && (c_.encoded || s_.position == PositionKind::injected))
        for (Index l = 0; l < c_.L; ++l) z[0] += offset<K>(h, l, c);
    } else {
      V other{};  // two chains of sums
      const V* c = at(h, 0);
      for (Index l = 0; l < c_.L; ++l, c += 2 * (followed<K>() + 1)) {
        const V length = beside<K>(c);
        if (K != 0 && K != plain) t[l] = length;
        sum += value(c, 0) * a[l] + offset<K>(h, l, c);
        other += length * b[l];
      }
      z[0] = sum + other;
    }
    return draws_.by_sums ? task_.lanes_of_sums(sum, squares, z, normals, delta, ws.scratch.data()) : task_.lanes(a, z, normals, delta, ws.scratch.data());
  }

  template <int K>
  bool step_as(ReducedWorkspace& ws, double gamma, Events& events) {
    V loss[parts];
    for (Index h = 0; h < parts; ++h) loss[h] = ask<K>(ws, h);
    // Nothing throws from here on.
    simd::i64 sound[parts];
    const bool stopped = judge(ws, gamma, loss, sound, events);
    V overlap[parts]{};
    move<K>(ws, gamma / double(s_.d), overlap);
    return finish(overlap, sound, events) || stopped;
  }

  // A step too large to be squared is not taken. True if a lane that is watched stops for it.
  SEQSGD_INLINE bool judge(ReducedWorkspace& ws, double gamma, const V (&loss)[parts], simd::i64 (&sound)[parts], Events& events) {
    const double limit = 1e140 / std::max(1.0, std::fabs(gamma));
    bool stopped = false;
    for (Index h = 0; h < parts; ++h) {
      V* delta = ws.delta.data() + h * ws.seen;
      V size{};
      for (Index l = 0; l < ws.seen; ++l) size += absolute(delta[l]);
      sound[h] = (loss[h] - loss[h] == 0.0) & (size < limit);
      events.nonfinite[h] = ~sound[h] & lives_[h];
      if (__builtin_expect(simd::any(~sound[h]), 0)) {
        for (Index l = 0; l < ws.seen; ++l) delta[l] = sound[h] ? delta[l] : V{};
        stopped |= simd::any(events.nonfinite[h]);
      }
      loss_[h] = sound[h] ? loss[h] : loss_[h];
      loss_sum_[h] += sound[h] ? loss[h] : V{};
    }
    return stopped;
  }
  SEQSGD_INLINE bool finish(const V (&overlap)[parts], const simd::i64 (&sound)[parts], Events& events) {
    ++step_;
    if ((step_ & (draws_.block - 1)) == 0) end_block();
    const double eta2 = s_.plan.eta * s_.plan.eta;
    bool passed = false;
    for (Index h = 0; h < parts; ++h) {
      events.passage[h] = simd::i64{};
      if (s_.plan.eta <= 0) continue;
      events.passage[h] = (overlap[h] >= eta2) & seeks_[h] & sound[h];
      passed |= simd::any(events.passage[h]);
    }
    return passed;
  }

  // The commonest case of untied weights, in the precision of the draws.
  template <class T>
  bool step_lean(RunLanes<T>& g, ReducedWorkspace& ws, double gamma, Events& events) {
    LeanRows<T> rows(task_, s_, c_, draws_, ws, at_.data(), run_, step_);
    V loss[parts], overlap[parts]{};
    for (int k = 0; k < RunLanes<T>::vectors; ++k) rows.ask(g, k, loss);
    simd::i64 sound[parts];
    const bool stopped = judge(ws, gamma, loss, sound, events);
    for (int k = 0; k < RunLanes<T>::vectors; ++k) rows.move(g, k, gamma / double(s_.d), overlap);
    return finish(overlap, sound, events) || stopped;
  }

  // v, from its products V0 with w*, B with the direction of what w has beside w* (length t), Y with b_1 .. b_r through P, and normals for the directions
  // across these; n = ||delta||. Returns its squared length in the directions that are followed.
  template <int K>
  SEQSGD_INLINE V gather(const V* c, V t, V V0, V B, const V* Y, V n, const V* normals, V* v) const {
    v[0] = V0;
    if constexpr (K == 0 || K == plain) {
      v[1] = rest<K>() ? B : V{};
      return V0 * V0 + v[1] * v[1];
    } else if constexpr (K == 1) {  // one direction across: a quarter turn of (u, s) / t
      const V inverse = t > 0.0 ? 1.0 / t : V{}, cu = value(c, 1) * inverse, cs = t > 0.0 ? value(c, 2) * inverse : V{} + 1.0, x = n * normals[0];
      v[1] = B * cu + x * cs + Y[0];
      v[2] = B * cs - x * cu;
      return V0 * V0 + v[1] * v[1] + v[2] * v[2];
    } else {
      const Index D = c_.across;
      const V inverse = t > 0.0 ? 1.0 / t : V{};
      V along{};
      const auto direction = [&](Index k) SEQSGD_LAMBDA_INLINE {  // of what w has beside w*; the last one if that is nothing
        const V x = value(c, k + 1) * inverse;
        return t > 0.0 ? x : V{} + (k + 1 == D ? 1.0 : 0.0);
      };
      const auto normal = [&](Index k) SEQSGD_LAMBDA_INLINE { return D < 2 ? V{} : normals[k]; };
      for (Index k = 0; k < D; ++k) along += direction(k) * normal(k);
      V q = V0 * V0;
      v[c_.r + 1] = V{};
      for (Index k = 0; k < D; ++k) {
        v[k + 1] = B * direction(k) + n * (normal(k) - direction(k) * along) + (k < c_.r ? Y[k] : V{});
        q += v[k + 1] * v[k + 1];
      }
      return q;
    }
  }

  template <int K>
  SEQSGD_INLINE Index followed() const {
    return K == 0 || K == plain ? 1 : K == 1 ? 2 : c_.r + 1;
  }
  // v . w / sqrt d
  template <int K>
  SEQSGD_INLINE V along_w(const V* c, const V* v) const {
    const Index n = followed<K>();
    V y = value(c, n) * v[n];
    for (Index k = 0; k < n; ++k) y += value(c, k) * v[k];
    return y;
  }
  // ||w + pull w - g v||^2 / d
  template <int K>
  V grown(const V* c, const V* v, const Move& a) const {
    const Index n = followed<K>();
    V q{};
    for (Index k = 0; k < n; ++k) {
      const V at = value(c, k), x = at + (a.pull * at - a.g * v[k]);
      q += x * x;
    }
    const V s = value(c, n), y = s + a.growth(s, v[n]);
    return q + y * y;
  }
  // Increments go to sums of their own, which are brought into the coordinates once a block: none is lost, however small.
  template <int K>
  SEQSGD_INLINE void turn(V* c, const V* v, const Move& a) const {
    const Index n = followed<K>();
    for (Index k = 0; k < n; ++k) {
      const V at = value(c, k), x = a.pull * at - a.g * v[k];
      c[2 * k + 1] += a.change(at, x);
    }
    if (!rest<K>()) return;
    const V s = value(c, n), x = a.growth(s, v[n]);
    c[2 * n + 1] += a.change(s, x);
  }
  // N^2 - 1 from v . w and ||v||^2 (both in units of the squared radius), and the pull of the projected step.
  template <int K>
  SEQSGD_INLINE V excess(V along, V size, Move& a) const {
    if (K == plain) {
      a.pull = V{};
      return a.g * (a.g * size - 2.0 * along);
    }
    a.pull = s_.projected ? a.g * along : V{};
    return s_.projected ? a.g * a.g * (size - along * along) : a.g * (a.g * size - 2.0 * along);
  }
  template <int K>
  void move(ReducedWorkspace& ws, double gamma_d, V (&overlap)[parts]) {
    if (c_.shared) return move_shared<K>(ws, gamma_d, overlap);
    if (s_.weights == Weights::global) return move_global<K>(ws, gamma_d, overlap);
    move_rows<K>(ws, gamma_d, overlap);
  }

  template <int K>
  void move_shared(ReducedWorkspace& ws, double gamma_d, V (&overlap)[parts]) {
    draw_own(ws, 0);
    const Index L = c_.L, r = K == 1 ? 1 : K == 0 || K == plain ? 0 : c_.r;
    V *v = ws.v.data(), *Y = v + (c_.r + 3);
    for (Index h = 0; h < parts; ++h) {
      const V *delta = ws.delta.data() + h * ws.seen, *a = ws.fresh.data() + h * ws.stride, *b = a + draws_.star, *own = ws.own.data() + h * ws.own_stride;
      V V0{}, B{}, n2{};
      if (draws_.sums) {
        V0 = delta[0] * ws.total[std::size_t(h)];
        B = delta[0] * b[0];
        n2 = delta[0] * delta[0] * ones_;
      } else {
        for (Index l = 0; l < L; ++l) {
          V0 += delta[l] * a[l];
          B += delta[l] * b[l];
          n2 += delta[l] * delta[l];
        }
        if (draws_.mixed) n2 = spread(delta);
      }
      for (Index k = 0; k < r; ++k) Y[k] = V{};
      if (encoded<K>())
        for (Index l = 0; l < L; ++l) {
          const V *p = P(h, l), x = delta[draws_.sums ? 0 : l];
          V0 += x * p[0];
          for (Index k = 0; k < r; ++k) Y[k] += x * p[k + 1];
        }
      V* c = at(h, 0);
      Move move;
      move.g = V{} + gamma_d;
      move.across2 = n2 * draws_.chi.draw(own[draws_.turns], own[even(draws_.own)], again(h, 0));
      const V size = gather<K>(c, ws.t[std::size_t(h)], V0, B, Y, draws_.turns ? root(n2) : n2, own, v) + move.across2;
      move.shrink(excess<K>(along_w<K>(c, v), size, move), [&] { return grown<K>(c, v, move); });
      turn<K>(c, v, move);
      if (s_.plan.eta > 0) overlap[h] = recovered<K>(h, c);
    }
  }

  // m^2 + ||projection of w / sqrt d on span(P)||^2
  template <int K>
  SEQSGD_INLINE V recovered(Index h, const V* c) const {
    const V m = value(c, 0), m2 = m * m;
    if (!encoded<K>()) return m2;
    const V* out = outside_.data() + h * (c_.r + 1);
    V q = m2, y = out[0] * m;
    for (Index k = 1; k < followed<K>(); ++k) {
      q += value(c, k) * value(c, k);
      y += out[k] * value(c, k);
    }
    return m2 + (q - y * y);
  }

  // What one part of a row has of a step's draws, and where.
  struct Row {
    V *c, delta;
    const V *a, *b, *t, *p, *own, *u;
  };
  Row row(ReducedWorkspace& ws, Index h, Index l) {
    const Index in = l % ReducedDraws::rows_together, rows = std::min(ReducedDraws::rows_together, c_.n - (l - in));
    const V *fresh = ws.fresh.data() + h * ws.stride + l, *own = ws.own.data() + h * ws.own_stride;
    return {at(h, l), ws.delta[std::size_t(h * ws.seen + (draws_.sums ? 0 : l))], fresh, fresh + draws_.star, ws.t.data() + h * c_.n + l, c_.encoded ? P(h, l) : nullptr, own + in * draws_.own,
            own + even(rows * draws_.own) + in};
  }
  template <int K>
  SEQSGD_INLINE void next(Row& x, const V* delta) const {
    ++x.a, ++x.b, ++x.t, ++x.u;
    x.c += 2 * (followed<K>() + 1);
    x.own += K == plain ? 1 : draws_.own;
    if (encoded<K>()) x.p += c_.r + 1;
    if (K != plain && !draws_.sums) x.delta = *delta;
  }

  // v of a row; returns ||v||^2, of which across2 is in directions that are not followed.
  template <int K>
  SEQSGD_INLINE V gather_row(const Row& x, Index h, Index l, V* v, V& across2) const {
    V V0 = x.delta * *x.a, Y{};
    if (encoded<K>()) {
      V0 += x.delta * x.p[0];
      if (K != 0 && c_.r > 0) Y = x.delta * x.p[1];
    }
    across2 = x.delta * x.delta * draws_.chi.template draw<K == plain>(x.own[K == plain ? 0 : draws_.turns], *x.u, again(h, l));
    return gather<K>(x.c, *x.t, V0, x.delta * *x.b, &Y, absolute(x.delta), x.own, v) + across2;
  }

  // Calls f(row, h, l) for some rows whose draws are at hand.
  template <int K, class F>
  SEQSGD_INLINE void each_row(ReducedWorkspace& ws, Index h, Index begin, F f) {
    const Index end = std::min(begin + ReducedDraws::rows_together, c_.n);
    Row x = row(ws, h, begin);
    const V* delta = ws.delta.data() + h * ws.seen + (draws_.sums ? 0 : begin);
    for (Index l = begin; l < end; ++l) {
      f(x, l);
      if (l + 1 < end) next<K>(x, draws_.sums ? delta : ++delta);
    }
  }

  template <int K>
  void move_rows(ReducedWorkspace& ws, double gamma_d, V (&overlap)[parts]) {
    const double share = 1 / double(c_.n);
    for (Index begin = 0; begin < c_.n; begin += ReducedDraws::rows_together) {
      draw_own(ws, begin);
      for (Index h = 0; h < parts; ++h) {
        V m2{};
        each_row<K>(ws, h, begin, [&](const Row& x, Index l) SEQSGD_LAMBDA_INLINE {
          V v[K == 0 || K == plain ? 2 : 3];  // r is 0 or 1
          Move move;
          move.g = V{} + gamma_d;
          const V size = gather_row<K>(x, h, l, v, move.across2);
          move.shrink(excess<K>(along_w<K>(x.c, v), size, move), [&] { return grown<K>(x.c, v, move); });
          turn<K>(x.c, v, move);
          if (s_.plan.eta > 0) m2 += value(x.c, 0) * value(x.c, 0);
        });
        overlap[h] += m2 * share;
      }
    }
  }

  template <int K>
  void move_global(ReducedWorkspace& ws, double gamma_d, V (&overlap)[parts]) {
    const double share = 1 / double(c_.n);
    const Index width = c_.r + 3;  // v of a row, and its squared length in directions that are not followed
    V along[parts]{}, size[parts]{};
    for (Index begin = 0; begin < c_.n; begin += ReducedDraws::rows_together) {
      draw_own(ws, begin);
      for (Index h = 0; h < parts; ++h)
        each_row<K>(ws, h, begin, [&](const Row& x, Index l) SEQSGD_LAMBDA_INLINE {
          V* v = ws.v.data() + (h * c_.n + l) * width;
          size[h] += gather_row<K>(x, h, l, v, v[width - 1]);
          along[h] += along_w<K>(x.c, v);
        });
    }
    for (Index h = 0; h < parts; ++h) {
      const V* v = ws.v.data() + h * c_.n * width;
      Move move;
      move.g = V{} + gamma_d;
      move.shrink(excess<K>(along[h] * share, size[h] * share, move), [&] {
        V q{};
        for (Index l = 0; l < c_.n; ++l) {
          move.across2 = v[l * width + width - 1];
          q += grown<K>(at(h, l), v + l * width, move);
        }
        return q * share;
      });
      for (Index l = 0; l < c_.n; ++l, v += width) {
        V* c = at(h, l);
        move.across2 = v[width - 1];
        turn<K>(c, v, move);
        if (s_.plan.eta > 0) overlap[h] += value(c, 0) * value(c, 0) * share;
      }
    }
  }

  const Task& task_;
  const Settings& s_;
  const Coordinates& c_;
  const ReducedDraws& draws_;
  LineVector<V> at_;       // (parts, n, r + 2, 2): coordinates, each with the sum of its increments since the block began
  LineVector<V> P_;        // (parts, L, r + 1)
  LineVector<V> outside_;  // (parts, r + 1)
  const bool plain_ = !c_.encoded && c_.rest && draws_.sums && draws_.chi.uniform() && !s_.projected && s_.position == PositionKind::none;
  const double ones_, root_ones_ = std::sqrt(ones_);  // variance of the sum of a coordinate over tokens
  V loss_sum_[parts]{}, loss_[parts]{};
  simd::i64 seeks_[parts]{}, lives_[parts]{};
  std::uint32_t run_[batch]{};
  RunLanes<float> single_;   // the data stream, in one of the two precisions
  RunLanes<double> double_, noise_;
  Index step_ = 0, begun_ = -1;
};

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
