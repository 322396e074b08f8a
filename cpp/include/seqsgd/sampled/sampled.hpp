// The sampled dynamics: every step draws X in R^{L x d}, projects it, asks the task for delta and
// moves the weights by -gamma sum_l delta_l x_l.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <vector>

#include "seqsgd/sampled/workspace.hpp"
#include "seqsgd/state/unit.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

template <class T>
class alignas(128) SampledRun final : public Unit {
 public:
  SampledRun(const Task& task, const Settings& s, std::shared_ptr<const Positions<T>> positions,
             std::uint32_t run, Index record_row, Records& records,
             std::vector<Workspace<T>>& workspaces)
      : task_(task),
        s_(s),
        run_(run),
        record_row_(record_row),
        records_(records),
        workspaces_(workspaces),
        L_(task.L()),
        n_(weight_count(s, task.L())),
        shared_(s.weights == Weights::shared),
        w_(s.weights, n_, s.d),
        teacher_(1, row_stride<T>(s.d)) {
    const Start start =
        make_start(s.seed, run, s.d, n_, s.init, s.position == PositionKind::opposite);
    teacher_.setZero();
    teacher_.leftCols(s.d) = start.teacher.template cast<T>().transpose();
    w_.place(start.w.data(), s.d, nullptr);
    if (s.position == PositionKind::opposite) {
      Matrix P(2, s.d);
      P.row(0) = start.opposite.transpose();
      P.row(1) = -P.row(0);
      positions = std::make_shared<Positions<T>>(P, s.weights);
    }
    positions_ = positions ? std::move(positions) : std::make_shared<Positions<T>>();
    along_.resize(std::size_t(positions_->rank()));
    towards_.resize(std::size_t(n_));
    basis_star_.resize(along_.size());
    b_.resize(along_.size());
    for (Index k = 0; k < positions_->rank(); ++k)
      basis_star_[std::size_t(k)] = dot(positions_->row(k), teacher_.data(), padded(s.d));
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
      const Index due = p_.next_record < Index(s_.plan.record.size())
                            ? s_.plan.record[std::size_t(p_.next_record)]
                            : end;
      const Index to_block = ws.feed.block_length() - p_.step % ws.feed.block_length();
      const Index n = std::min({end - p_.step, std::max<Index>(due - p_.step, 1), to_block});
      try {
        for (Index i = 0; i < n && !p_.halted(s_.plan); ++i) draw_and_step(ws);
      } catch (...) {  // a link of the user's; the step's draws are used up
        ws.feed.forget();
        throw;
      }
      record_if_due();
    }
  }

  // One step on the caller's tokens, padded rows in ws.X in the units of the model. Labels are y,
  // or where that is null the teacher's with this noise (k standard normals, or null for none).
  // Returns the loss; NaN, and no step, once a value was not finite.
  double observe(Workspace<T>& ws, const double* y, const double* noise) {
    if (p_.nonfinite < 0) {
      ws.largest_x = ws.X.leftCols(s_.d).cwiseAbs().maxCoeff();
      if (ws.X.leftCols(s_.d).hasNaN()) ws.largest_x = std::numeric_limits<double>::infinity();
      Read<T> read;
      project(ws, read, ws.X.data(), ws.X.cols(), 1.0);
      if (y)
        finish_step(ws, 1.0, task_.labelled(y, ws.z.data(), ws.delta.data(), ws.scratch.data()));
      else
        finish_step(ws, 1.0,
                    task_.evaluate(ws.zstar.data(), ws.z.data(), noise, ws.delta.data(),
                                   ws.scratch.data()));
      ws.largest_x = Workspace<T>::largest_drawn;
      record_if_due();
    }
    return p_.nonfinite < 0 ? p_.loss_last : std::numeric_limits<double>::quiet_NaN();
  }

  OrderParameters order_parameters(Index) const override {
    OrderParameters o;
    const double d = double(s_.d);
    std::vector<double> products(along_.size());
    double a = 0;
    for (Index i = 0; i < n_; ++i) {
      if (i == 0 || s_.weights == Weights::rows) a = w_.exact_scale(i);
      o.m.push_back(a * dot(w_.row(i), teacher_.data(), padded(s_.d)) / d);
      o.q.push_back(a * a * dot(w_.row(i), w_.row(i), padded(s_.d)) / d);
      for (Index k = shared_ ? 0 : i;
           k < (shared_ ? positions_->rank() : std::min(i + 1, positions_->rank())); ++k)
        products[std::size_t(k)] =
            a * dot(w_.row(i), positions_->row(k), padded(s_.d)) / std::sqrt(d);
    }
    for (Index l = 0; l < positions_->tokens(); ++l)
      o.e.push_back(positions_->along(l, products.data()));
    return o;
  }

  void weights(double* out) const {
    checks::given("out", out);
    double a = 0;
    for (Index i = 0; i < n_; ++i) {
      if (i == 0 || s_.weights == Weights::rows) a = w_.exact_scale(i);
      for (Index j = 0; j < s_.d; ++j) out[i * s_.d + j] = a * double(w_.row(i)[j]);
    }
  }
  void teacher(double* out) const { std::copy_n(teacher_.data(), s_.d, checks::given("out", out)); }
  Matrix positions() const { return positions_->matrix(); }

  // The whole mutable state, as two flat arrays: vectors of T, and doubles.
  Index state_size() const { return 2 * n_ + Index(along_.size()) + Progress::size; }
  void save(T* v, double* state) const {
    checks::given("v", v);
    checks::given("state", state);
    for (Index i = 0; i < n_; ++i) v = std::copy_n(w_.row(i), s_.d, v);
    for (const LineVector<double>* part : {&w_.norm2(), &towards_, &along_})
      state = std::copy(part->begin(), part->end(), state);
    p_.save(state);
  }
  void restore(const T* v, const double* state) {
    check_state(v, state);
    w_.place(v, s_.d, state);
    state += n_;
    for (auto* part : {&towards_, &along_}) {
      std::copy_n(state, part->size(), part->begin());
      state += part->size();
    }
    p_.restore(state);
  }

  // Throws unless restore can take this.
  void check_state(const T* v, const double* state) const {
    checks::given("v", v);
    checks::given("state", state);
    double all = 0;
    for (Index i = 0; i < n_; ++i) {
      double norm2 = 0;
      for (Index j = 0; j < s_.d; ++j) norm2 += double(v[i * s_.d + j]) * double(v[i * s_.d + j]);
      if (!std::isfinite(norm2) || (state[i] > 0) != (norm2 > 0) ||
          (norm2 == 0 && s_.weights != Weights::global))
        Progress::refuse();
      all += norm2;
    }
    if (all == 0) Progress::refuse();
    const double* at = state + state_size() - Progress::size;
    for (const double* x = state; x < at; ++x)
      if (!std::isfinite(*x)) Progress::refuse();
    Progress::check(at, s_.plan);
  }

 private:
  T* row(Index i) { return w_.row(i); }

  void draw_and_step(Workspace<T>& ws) {
    const double unit_x = inverse_sqrt_d_;
    Read<T> read;
    switch (ws.feed.way()) {
      case Feed<T>::Way::draw:
        project(ws, ws.feed.draw_source(), ws.X.data(), ws.X.cols(), unit_x);
        break;
      case Feed<T>::Way::ahead:
        project(ws, read, ws.feed.ahead(), s_.d, unit_x);
        break;
      case Feed<T>::Way::fill:
        ws.feed.fill(ws.X.data(), ws.X.cols());
        project(ws, read, ws.X.data(), ws.X.cols(), unit_x);
    }
    const double loss = task_.evaluate(ws.zstar.data(), ws.z.data(), ws.feed.noise(),
                                       ws.delta.data(), ws.scratch.data());
    if (ws.feed.way() == Feed<T>::Way::ahead) ws.feed.draw_ahead();
    finish_step(ws, unit_x, loss);
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
      if (task_.sums().link_of_sum) {
        project_sum<false>(source, L_, s_.d, row(0), teacher_.data(), x, x_stride, ws.sum.data(), u,
                           ustar, ws.rawstar.data(), lanes_of);
        std::fill(ws.zstar.begin(), ws.zstar.end(), ustar * unit_x * inverse_L_);
      } else {
        project_sum<true>(source, L_, s_.d, row(0), teacher_.data(), x, x_stride, ws.sum.data(), u,
                          ustar, ws.rawstar.data(), lanes_of);
        for (Index l = 0; l < L_; ++l)
          ws.zstar[std::size_t(l)] = ws.rawstar[std::size_t(l)] * unit_x;
      }
      ws.rawstar[0] = ustar;
      const double share = u * w_.scale(0) * unit_x * inverse_L_;
      for (Index l = 0; l < L_; ++l) ws.z[std::size_t(l)] = share + ws.offset[std::size_t(l)];
      return;
    }
    const auto out = [&](Index l, double raw, double rawstar) SEQSGD_LAMBDA_INLINE {
      ws.z[std::size_t(l)] = w_.scale(shared_ ? 0 : l) * unit_x * raw + ws.offset[std::size_t(l)];
      ws.rawstar[std::size_t(l)] = rawstar;
      ws.zstar[std::size_t(l)] = rawstar * unit_x;
    };
    project_tokens(source, L_, s_.d, row(0), shared_ ? 0 : w_.stride(), teacher_.data(), x,
                   x_stride, ws.raw.data(), ws.rawstar.data(), out);
  }

  // What each token's field carries beside x_l . w: e_l or c_l.
  void offsets(Workspace<T>& ws) const {
    if (s_.position == PositionKind::injected)
      std::copy(s_.c.begin(), s_.c.end(), ws.offset.begin());
    for (Index l = 0, n = positions_->tokens(); l < n; ++l)
      ws.offset[std::size_t(l)] =
          w_.scale(shared_ ? 0 : l) * inverse_sqrt_d_ * positions_->along(l, along_.data());
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
    p_.count(loss);
    if (s_.plan.eta > 0 && p_.passage < 0) {
      if (p_.step % 4096 == 0) measure_towards();  // the running products keep their rounding small
      look_for_passage();
    }
  }

  // False if the step is too large to be represented, or leaves no direction.
  bool move(Workspace<T>& ws, double gamma, double unit_x) {
    return shared_ ? move_shared(ws, gamma, unit_x) : move_rows(ws, gamma, unit_x);
  }

  bool move_shared(Workspace<T>& ws, double gamma, double unit_x) {
    const Index tokens = ws.sums ? 1 : L_, r = positions_->rank();
    const double cx = gamma * unit_x * w_.inverse_scale(0),
                 cp = gamma * inverse_sqrt_d_ * w_.inverse_scale(0);
    for (Index l = 0; l < tokens; ++l) {
      ws.rows[std::size_t(l)] = ws.sums ? ws.sum.data() : ws.x + l * ws.x_stride;
      ws.c[std::size_t(l)] = T(cx * ws.delta[std::size_t(l)]);
    }
    if (r > 0) positions_->gather(ws.delta.data(), b_.data());
    for (Index k = 0; k < r; ++k) {
      ws.rows[std::size_t(tokens + k)] = positions_->row(k);
      ws.c[std::size_t(tokens + k)] = T(cp * b_[std::size_t(k)]);
    }
    if (!representable(ws, tokens + r)) return false;
    double radial = 0;
    if (s_.projected)
      for (Index l = 0; l < L_; ++l) radial += along_w(ws, l);
    const T a = s_.projected ? T(1 + gamma * radial / w_.radius2()) : T(1);
    if (s_.plan.eta > 0) {
      double t = double(a) * towards_[0];
      for (Index l = 0; l < tokens; ++l)
        t -= double(ws.c[std::size_t(l)]) * ws.rawstar[std::size_t(l)];
      for (Index k = 0; k < r; ++k)
        t -= double(ws.c[std::size_t(tokens + k)]) * basis_star_[std::size_t(k)];
      towards_[0] = t;
    }
    w_.move(0, a, ws.rows.data(), ws.c.data(), tokens + r, r == 1 ? &along_[0] : nullptr);
    const bool rescaled = w_.settle(0);
    if (rescaled) measure_towards();
    if (rescaled || r > 1) measure_along(0);
    return w_.sound(0);
  }

  bool move_rows(Workspace<T>& ws, double gamma, double unit_x) {
    const bool global = s_.weights == Weights::global;
    const Index count = positions_->rank() > 0 ? 2 : 1;
    const double cp = gamma * inverse_sqrt_d_;
    double radial = 0;
    for (Index i = 0; i < n_; ++i) {
      const double delta = ws.delta[std::size_t(i)] * w_.inverse_scale(i);
      ws.c[std::size_t(2 * i)] = T(gamma * unit_x * delta);
      ws.c[std::size_t(2 * i + 1)] = T(cp * delta);
      if (s_.projected && global) radial += along_w(ws, i);
    }
    if (!representable(ws, 2 * n_)) return false;
    bool rescaled = false, sound = true;
    for (Index i = 0; i < n_; ++i) {
      if (s_.projected && !global) radial = along_w(ws, i);
      const T a = s_.projected ? T(1 + gamma * radial / w_.radius2()) : T(1);
      const T* c = ws.c.data() + 2 * i;
      ws.rows[0] = ws.x + i * ws.x_stride;
      double t = double(a) * towards_[std::size_t(i)] - double(c[0]) * ws.rawstar[std::size_t(i)];
      if (count == 2) {
        ws.rows[1] = positions_->row(i);
        t -= double(c[1]) * basis_star_[std::size_t(i)];
      }
      towards_[std::size_t(i)] = t;
      w_.move(i, a, ws.rows.data(), c, count, count == 2 ? &along_[std::size_t(i)] : nullptr);
      if (!global) {
        rescaled |= w_.settle(i);
        sound &= w_.sound(i);
      }
    }
    if (global) {
      rescaled = w_.settle(0);
      sound = w_.sound(0);
    }
    if (rescaled) remeasure();
    return sound;
  }

  // Token l's share of w . G: delta_l (x_l + p_l / sqrt d) . w
  double along_w(const Workspace<T>& ws, Index l) const {
    const double c = s_.position == PositionKind::injected ? s_.c[std::size_t(l)] : 0.0;
    return ws.delta[std::size_t(l)] * (ws.z[std::size_t(l)] - c);
  }

  // Whether squares of these steps still fit T.
  bool representable(const Workspace<T>& ws, Index n) const {
    T sum = 0;
    for (Index i = 0; i < n; ++i) sum += std::fabs(ws.c[std::size_t(i)]);
    return double(sum) * std::max(ws.largest_x, positions_->largest()) <
           (sizeof(T) == 4 ? 1e15 : 1e145);  // false for NaN
  }

  // The running products v . w* and v . basis, afresh.
  void remeasure() {
    measure_towards();
    for (Index i = 0; i < n_; ++i) measure_along(i);
  }
  void measure_towards() {
    for (Index i = 0; i < n_; ++i)
      towards_[std::size_t(i)] = dot(row(i), teacher_.data(), padded(s_.d));
  }
  void measure_along(Index i) {
    for (Index k = shared_ ? 0 : i;
         k < (shared_ ? positions_->rank() : std::min(i + 1, positions_->rank())); ++k)
      along_[std::size_t(k)] = dot(row(i), positions_->row(k), padded(s_.d));
  }

  // Weak recovery: ||(e, m)|| >= eta, or ||m|| / sqrt L untied. The running products only tell when
  // to look.
  void look_for_passage() {
    constexpr double margin = sizeof(T) == 4 ? 5e-4 : 1e-8;
    const double d = double(s_.d), least = std::max(0.0, s_.plan.eta - margin);
    double s = 0;
    for (Index i = 0; i < n_; ++i)
      s += square_of(w_.scale(i) * towards_[std::size_t(i)] / d) / double(n_);
    if (shared_)
      for (double g : along_) s += square_of(w_.scale(0) * g) / d;
    if (s < least * least) return;
    s = 0;
    double a = 0;
    for (Index i = 0; i < n_; ++i) {
      if (i == 0 || s_.weights == Weights::rows) a = w_.exact_scale(i);
      s += square_of(a * dot(row(i), teacher_.data(), padded(s_.d)) / d) / double(n_);
    }
    if (shared_)
      for (Index k = 0; k < positions_->rank(); ++k)
        s += square_of(a * dot(row(0), positions_->row(k), padded(s_.d))) / d;
    if (std::sqrt(s) >= s_.plan.eta) p_.passage = p_.step;
  }

  static double square_of(double x) { return x * x; }

  void record_if_due() {
    p_.record_if_due(s_.plan, [&](Index i, double mean_loss) {
      records_.put(record_row_, i, order_parameters(0), mean_loss);
    });
  }

  const Task& task_;
  const Settings& s_;
  const std::uint32_t run_;
  const Index record_row_;
  Records& records_;
  std::vector<Workspace<T>>& workspaces_;
  const Index L_, n_;
  const bool shared_;
  const double inverse_sqrt_d_ = 1 / std::sqrt(double(s_.d)), inverse_L_ = 1 / double(L_);
  Sphere<T> w_;
  Rows<T> teacher_;
  std::shared_ptr<const Positions<T>> positions_;
  LineVector<double> towards_;     // v_i . w*, followed only where weak recovery is asked for
  LineVector<double> along_;       // v . basis_k (own row of P where rows have their own weights)
  LineVector<double> basis_star_;  // basis_k . w*
  LineVector<double> b_;           // scratch: sum_l delta_l p_l along the basis
  Progress p_;
};

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
