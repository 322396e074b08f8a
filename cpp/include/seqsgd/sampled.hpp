// The sampled dynamics: every step draws X in R^{L x d}, projects it, asks the task for delta and moves the weights by -gamma sum_l delta_l x_l.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <vector>

#include "unit.hpp"
#include "workspace.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

template <class T>
class SampledRun final : public Unit {
 public:
  SampledRun(const Task& task, const SampledSettings& s, std::uint32_t run, Index record_row, Records& records, std::vector<Workspace<T>>& workspaces)
      : task_(task), s_(s), run_(run), record_row_(record_row), records_(records), workspaces_(workspaces), L_(task.L()), n_(weight_count(s, task.L())), w_(s.weights, n_, s.d), teacher_(1, row_stride<T>(s.d)) {
    const Start start = make_start(s.seed, run, s.d, n_, s.init, s.position == PositionKind::opposite);
    teacher_.setZero();
    teacher_.leftCols(s.d) = start.teacher.template cast<T>().transpose();
    w_.place(start.w.data(), s.d, nullptr);
    if (s.position == PositionKind::matrix) positions_ = Positions<T>(s.P, s.weights);
    if (s.position == PositionKind::opposite) {
      Matrix P(2, s.d);
      P.row(0) = start.opposite.transpose();
      P.row(1) = -P.row(0);
      positions_ = Positions<T>(P, s.weights);
    }
    along_.resize(std::size_t(positions_.rank()));
    towards_.resize(std::size_t(n_));
    basis_star_.resize(along_.size());
    for (Index k = 0; k < positions_.rank(); ++k) basis_star_[std::size_t(k)] = dot(positions_.row(k), teacher_.data(), padded(s.d));
    remeasure();
    if (s.plan.eta > 0) look_for_passage();
    record_if_due();
  }

  Index runs() const override { return 1; }
  bool done(Index target) const override { return p_.step >= target || p_.halted(s_.plan); }
  const Progress& progress(Index) const override { return p_; }

  void advance(Index target, Index budget, int worker, const std::atomic<bool>& pause) override {
    Workspace<T>& ws = workspaces_[std::size_t(worker)];
    const Index end = std::min(target, p_.step + budget);
    if (p_.step < end && !ws.feed.at(this, p_.step)) ws.feed.seek(this, s_.seed, run_, p_.step);
    while (p_.step < end && !p_.halted(s_.plan) && !pause.load(std::memory_order_relaxed)) {
      const Index due = p_.next_record < Index(s_.plan.record.size()) ? s_.plan.record[std::size_t(p_.next_record)] : end;
      const Index to_block = ws.feed.block_length() - p_.step % ws.feed.block_length();
      const Index n = std::min({end - p_.step, std::max<Index>(due - p_.step, 1), to_block});
      for (Index i = 0; i < n && !p_.halted(s_.plan); ++i) draw_and_step(ws);
      if (s_.plan.eta > 0 && p_.step % std::max<Index>(ws.feed.block_length(), 256) == 0) remeasure();
      record_if_due();
    }
  }

  // One step on the caller's tokens, padded rows in ws.X in the units of the model; y may be null. Returns the loss; NaN, and no step, once
  // a value was not finite.
  double observe(Workspace<T>& ws, const double* y) {
    if (p_.nonfinite < 0) {
      Read<T> read;
      project(ws, read, ws.X.data(), ws.X.cols(), 1.0);
      if (y)
        finish_step(ws, 1.0, task_.labelled(y, ws.z.data(), ws.delta.data(), ws.scratch.data()));
      else
        finish_step(ws, 1.0, task_(ws.zstar.data(), ws.z.data(), nullptr, ws.delta.data(), ws.scratch.data()));
      record_if_due();
    }
    return p_.nonfinite < 0 ? p_.loss_last : std::numeric_limits<double>::quiet_NaN();
  }

  OrderParameters order_parameters(Index) const override {
    OrderParameters o;
    const double d = double(s_.d);
    for (Index i = 0; i < n_; ++i) {
      const double a = w_.exact_scale(i);
      o.m.push_back(a * dot(w_.row(i), teacher_.data(), padded(s_.d)) / d);
      o.q.push_back(a * a * dot(w_.row(i), w_.row(i), padded(s_.d)) / d);
    }
    std::vector<double> g;
    for (Index k = 0; k < positions_.rank(); ++k) {
      const Index i = n_ == 1 ? 0 : k;
      g.push_back(w_.exact_scale(i) * dot(w_.row(i), positions_.row(k), padded(s_.d)) / std::sqrt(d));
    }
    for (Index l = 0; l < positions_.tokens(); ++l) {
      double e = 0;
      for (Index k = 0; k < positions_.rank(); ++k) e += positions_.mix()(l, k) * g[std::size_t(k)];
      o.e.push_back(e);
    }
    return o;
  }

  void weights(double* out) const {
    for (Index i = 0; i < n_; ++i) {
      const double a = w_.exact_scale(i);
      for (Index j = 0; j < s_.d; ++j) out[i * s_.d + j] = a * double(w_.row(i)[j]);
    }
  }
  void teacher(double* out) const { std::copy_n(teacher_.data(), s_.d, out); }
  Matrix positions() const { return positions_.matrix(); }

  // The whole mutable state, as two flat arrays: vectors of T, and doubles.
  Index state_size() const { return 2 * n_ + Index(along_.size()) + 7; }
  void save(T* v, double* state) const {
    for (Index i = 0; i < n_; ++i) v = std::copy_n(w_.row(i), s_.d, v);
    for (const auto* part : {&w_.norm2(), &towards_, &along_}) state = std::copy(part->begin(), part->end(), state);
    for (double x : {double(p_.step), double(p_.passage), double(p_.nonfinite), double(p_.next_record), p_.loss_sum, p_.loss_last, double(p_.loss_count)}) *state++ = x;
  }
  void restore(const T* v, const double* state) {
    w_.place(v, s_.d, state);
    state += n_;
    for (auto* part : {&towards_, &along_}) {
      std::copy_n(state, part->size(), part->begin());
      state += part->size();
    }
    p_.step = Index(state[0]);
    p_.passage = Index(state[1]);
    p_.nonfinite = Index(state[2]);
    p_.next_record = Index(state[3]);
    p_.loss_sum = state[4];
    p_.loss_last = state[5];
    p_.loss_count = Index(state[6]);
  }

 private:
  T* row(Index i) { return w_.row(i); }

  void draw_and_step(Workspace<T>& ws) {
    const double unit_x = inverse_sqrt_d_;
    Read<T> read;
    switch (ws.feed.way()) {
      case Feed<T>::Way::draw: project(ws, ws.feed.draw_source(), ws.X.data(), ws.X.cols(), unit_x); break;
      case Feed<T>::Way::ahead: project(ws, read, ws.feed.ahead(), s_.d, unit_x); break;
      case Feed<T>::Way::fill:
        ws.feed.fill(ws.X.data(), ws.X.cols());
        project(ws, read, ws.X.data(), ws.X.cols(), unit_x);
    }
    finish_step(ws, unit_x, task_(ws.zstar.data(), ws.z.data(), ws.feed.noise(), ws.delta.data(), ws.scratch.data()));
    ws.feed.next();
  }

  // Fields z* and z of this step, X in units of `unit_x`.
  template <class Source>
  void project(Workspace<T>& ws, Source& source, const T* x, Index x_stride, double unit_x) {
    offsets(ws);
    ws.x = x;
    ws.x_stride = x_stride;
    if (ws.sums) {
      double u, ustar;
      T* lanes_of = ws.accumulators.data();
      if (task_.link().sums_only) {
        project_sum<false>(source, L_, s_.d, row(0), teacher_.data(), x, x_stride, ws.sum.data(), u, ustar, ws.rawstar.data(), lanes_of);
        std::fill(ws.zstar.begin(), ws.zstar.end(), ustar * unit_x * inverse_L_);
      } else {
        project_sum<true>(source, L_, s_.d, row(0), teacher_.data(), x, x_stride, ws.sum.data(), u, ustar, ws.rawstar.data(), lanes_of);
        for (Index l = 0; l < L_; ++l) ws.zstar[std::size_t(l)] = ws.rawstar[std::size_t(l)] * unit_x;
      }
      ws.rawstar[0] = ustar;
      const double share = u * w_.scale(0) * unit_x * inverse_L_;
      for (Index l = 0; l < L_; ++l) ws.z[std::size_t(l)] = share + ws.offset[std::size_t(l)];
      return;
    }
    project_tokens(source, L_, s_.d, row(0), n_ == 1 ? 0 : w_.stride(), teacher_.data(), x, x_stride, ws.raw.data(), ws.rawstar.data());
    double a = w_.scale(0) * unit_x;
    for (Index l = 0; l < L_; ++l) {
      if (s_.weights == Weights::rows && l) a = w_.scale(l) * unit_x;
      ws.z[std::size_t(l)] = a * ws.raw[std::size_t(l)] + ws.offset[std::size_t(l)];
      ws.zstar[std::size_t(l)] = ws.rawstar[std::size_t(l)] * unit_x;
    }
  }

  // What each token's field carries beside x_l . w: e_l or c_l.
  void offsets(Workspace<T>& ws) const {
    if (s_.position == PositionKind::injected) std::copy(s_.c.begin(), s_.c.end(), ws.offset.begin());
    for (Index l = 0; l < positions_.tokens(); ++l) {
      const double a = w_.scale(n_ == 1 ? 0 : l) * inverse_sqrt_d_;
      double e = 0;
      for (Index k = 0; k < positions_.rank(); ++k) e += positions_.mix()(l, k) * along_[std::size_t(k)];
      ws.offset[std::size_t(l)] = a * e;
    }
  }

  // Count the loss and move the weights by the step's delta.
  void finish_step(Workspace<T>& ws, double unit_x, double loss) {
    double size = 0;
    for (double x : ws.delta) size += std::fabs(x);
    if (!std::isfinite(loss) || !std::isfinite(size)) {
      p_.nonfinite = p_.step + 1;
      return;
    }
    const double gamma = s_.lr(p_.step);
    if (size > 0 && gamma != 0 && !move(ws, gamma, unit_x)) {
      p_.nonfinite = p_.step + 1;
      return;
    }
    p_.loss_last = loss;
    p_.loss_sum += loss;
    ++p_.loss_count;
    ++p_.step;
    if (s_.plan.eta > 0 && p_.passage < 0) look_for_passage();
  }

  // False, with the weights untouched, if the step is too large to be represented.
  bool move(Workspace<T>& ws, double gamma, double unit_x) { return n_ == 1 ? move_shared(ws, gamma, unit_x) : move_rows(ws, gamma, unit_x); }

  bool move_shared(Workspace<T>& ws, double gamma, double unit_x) {
    const Index tokens = ws.sums ? 1 : L_, r = positions_.rank();
    const double cx = gamma * unit_x * w_.inverse_scale(0), cp = gamma * inverse_sqrt_d_ * w_.inverse_scale(0);
    for (Index l = 0; l < tokens; ++l) {
      ws.rows[std::size_t(l)] = ws.sums ? ws.sum.data() : ws.x + l * ws.x_stride;
      ws.c[std::size_t(l)] = T(cx * ws.delta[std::size_t(l)]);
    }
    for (Index k = 0; k < r; ++k) {
      double b = 0;
      for (Index l = 0; l < L_; ++l) b += positions_.mix()(l, k) * ws.delta[std::size_t(l)];
      ws.rows[std::size_t(tokens + k)] = positions_.row(k);
      ws.c[std::size_t(tokens + k)] = T(cp * b);
    }
    if (!representable(ws.c, tokens + r)) return false;
    double radial = 0;
    if (s_.projected)
      for (Index l = 0; l < L_; ++l) radial += along_w(ws, l);
    const double a = 1 + gamma * radial / w_.radius2();
    double t = a * towards_[0];
    for (Index l = 0; l < tokens; ++l) t -= double(ws.c[std::size_t(l)]) * ws.rawstar[std::size_t(l)];
    for (Index k = 0; k < r; ++k) t -= double(ws.c[std::size_t(tokens + k)]) * basis_star_[std::size_t(k)];
    towards_[0] = t;
    w_.move(0, T(a), ws.rows.data(), ws.c.data(), tokens + r, r == 1 ? &along_[0] : nullptr);
    if (w_.settle(0))
      remeasure();
    else if (r > 1)
      measure_along();
    return true;
  }

  bool move_rows(Workspace<T>& ws, double gamma, double unit_x) {
    const bool global = s_.weights == Weights::global;
    const Index count = positions_.rank() > 0 ? 2 : 1;
    const double cp = gamma * inverse_sqrt_d_;
    double radial = 0;
    for (Index i = 0; i < n_; ++i) {
      const double delta = ws.delta[std::size_t(i)] * w_.inverse_scale(i);
      ws.c[std::size_t(2 * i)] = T(gamma * unit_x * delta);
      ws.c[std::size_t(2 * i + 1)] = T(cp * delta);
      if (s_.projected && global) radial += along_w(ws, i);
    }
    if (!representable(ws.c, 2 * n_)) return false;
    bool rescaled = false;
    for (Index i = 0; i < n_; ++i) {
      if (s_.projected && !global) radial = along_w(ws, i);
      const double a = 1 + gamma * radial / w_.radius2();
      const T* c = ws.c.data() + 2 * i;
      ws.rows[0] = ws.x + i * ws.x_stride;
      double t = a * towards_[std::size_t(i)] - double(c[0]) * ws.rawstar[std::size_t(i)];
      if (count == 2) {
        ws.rows[1] = positions_.row(i);
        t -= double(c[1]) * basis_star_[std::size_t(i)];
      }
      towards_[std::size_t(i)] = t;
      w_.move(i, T(a), ws.rows.data(), c, count, count == 2 ? &along_[std::size_t(i)] : nullptr);
      if (!global) rescaled |= w_.settle(i);
    }
    if (global) rescaled = w_.settle(0);
    if (rescaled) remeasure();
    return true;
  }

  // Token l's share of w . G: delta_l (x_l + p_l / sqrt d) . w
  double along_w(const Workspace<T>& ws, Index l) const {
    const double c = s_.position == PositionKind::injected ? s_.c[std::size_t(l)] : 0.0;
    return ws.delta[std::size_t(l)] * (ws.z[std::size_t(l)] - c);
  }

  // Whether squares of these steps still fit T.
  static bool representable(const std::vector<T>& c, Index n) {
    constexpr T limit = sizeof(T) == 4 ? T(1e14) : T(1e140);
    for (Index i = 0; i < n; ++i)
      if (!(std::fabs(c[std::size_t(i)]) < limit)) return false;
    return true;
  }

  // The running products v . w* and v . basis, afresh.
  void remeasure() {
    for (Index i = 0; i < n_; ++i) towards_[std::size_t(i)] = dot(row(i), teacher_.data(), padded(s_.d));
    measure_along();
  }
  void measure_along() {
    for (Index k = 0; k < positions_.rank(); ++k) along_[std::size_t(k)] = dot(row(n_ == 1 ? 0 : k), positions_.row(k), padded(s_.d));
  }

  // Weak recovery: ||(e, m)|| >= eta, or ||m|| / sqrt L untied. The running products only tell when to look.
  void look_for_passage() {
    constexpr double margin = 1e-3;
    const double d = double(s_.d);
    double s = 0;
    for (Index i = 0; i < n_; ++i) s += std::pow(w_.scale(i) * towards_[std::size_t(i)] / d, 2) / double(n_);
    if (n_ == 1)
      for (double g : along_) s += std::pow(w_.scale(0) * g, 2) / d;
    const double near = std::max(0.0, s_.plan.eta - margin);
    if (s < near * near) return;
    s = 0;
    for (Index i = 0; i < n_; ++i) s += std::pow(w_.exact_scale(i) * dot(row(i), teacher_.data(), padded(s_.d)) / d, 2) / double(n_);
    if (n_ == 1)
      for (Index k = 0; k < positions_.rank(); ++k) s += std::pow(w_.exact_scale(0) * dot(row(0), positions_.row(k), padded(s_.d)), 2) / d;
    if (std::sqrt(s) >= s_.plan.eta) p_.passage = p_.step;
  }

  void record_if_due() {
    const auto& steps = s_.plan.record;
    while (p_.next_record < Index(steps.size()) && steps[std::size_t(p_.next_record)] <= p_.step) {
      if (steps[std::size_t(p_.next_record)] == p_.step) {
        records_.put(record_row_, p_.next_record, order_parameters(0), p_.loss_sum / double(p_.loss_count));
        p_.loss_sum = 0;
        p_.loss_count = 0;
      }
      ++p_.next_record;
    }
  }

  const Task& task_;
  const SampledSettings& s_;
  const std::uint32_t run_;
  const Index record_row_;
  Records& records_;
  std::vector<Workspace<T>>& workspaces_;
  const Index L_, n_;
  const double inverse_sqrt_d_ = 1 / std::sqrt(double(s_.d)), inverse_L_ = 1 / double(L_);
  Sphere<T> w_;
  Rows<T> teacher_;
  Positions<T> positions_;
  std::vector<double> towards_;     // v_i . w*
  std::vector<double> along_;       // v . basis_k (own row of P where rows have their own weights)
  std::vector<double> basis_star_;  // basis_k . w*
  Progress p_;
};

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
