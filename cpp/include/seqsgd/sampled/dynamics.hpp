// The sampled dynamics: every step draws X in R^{L x d}, projects it, asks the task for delta and
// moves the weights by -gamma sum_l delta_l x_l.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <vector>

#include "seqsgd/sampled/workspace.hpp"
#include "seqsgd/state/work_item.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

template <class T>
class SampledDynamics {
 public:
  using Workspace = seqsgd::Workspace<T>;

  SampledDynamics(const Task& task, const Settings& s, std::uint32_t run,
                  std::shared_ptr<const Positions<T>> positions)
      : task_(task),
        s_(s),
        run_(run),
        L_(task.L()),
        n_(s.fields.weights),
        shared_(s.fields.one_weight()),
        w_(s.spheres.one(), n_, s.d),
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
      positions = std::make_shared<Positions<T>>(P, shared_);
    }
    positions_ = positions ? std::move(positions) : std::make_shared<Positions<T>>();
    v_dot_basis_.resize(positions_->rank());
    v_dot_teacher_.resize(n_);
    basis_dot_teacher_.resize(v_dot_basis_.size());
    b_.resize(v_dot_basis_.size());
    for (Index k = 0; k < positions_->rank(); ++k)
      basis_dot_teacher_[k] = dot(positions_->row(k), teacher_.data(), padded(s.d));
    remeasure();
  }

  void seek(Workspace& ws, Index step) const {
    if (!ws.stream.at(this, step)) ws.stream.seek(this, s_.seed, run_, step);
  }
  void forget(Workspace& ws) const { ws.stream.forget(); }
  Index stretch(const Workspace& ws, Index step) const {
    return ws.stream.block_length() - step % ws.stream.block_length();
  }

  Sample draw(Workspace& ws, Index) {
    Read<T> read;
    ws.x_scale = inverse_sqrt_d_;
    ws.largest_x = Workspace::largest_drawn;
    switch (ws.stream.mode()) {
      case TokenStream<T>::Mode::fused:
        project(ws, ws.stream.draw_source(), ws.X.data(), ws.X.cols());
        break;
      case TokenStream<T>::Mode::prefetched:
        project(ws, read, ws.stream.ahead(), s_.d);
        break;
      case TokenStream<T>::Mode::materialised:
        ws.stream.fill(ws.X.data(), ws.X.cols());
        project(ws, read, ws.X.data(), ws.X.cols());
    }
    return sample(ws, ws.stream.noise());
  }
  // The caller's tokens: padded rows in ws.X, in the units of the model.
  Sample read(Workspace& ws) {
    Read<T> read;
    ws.x_scale = 1;
    ws.largest_x = ws.X.leftCols(s_.d).hasNaN() ? std::numeric_limits<double>::infinity()
                                                : ws.X.leftCols(s_.d).cwiseAbs().maxCoeff();
    project(ws, read, ws.X.data(), ws.X.cols());
    return sample(ws, nullptr);
  }
  void draw_ahead(Workspace& ws) const {
    if (ws.stream.mode() == TokenStream<T>::Mode::prefetched) ws.stream.draw_ahead();
  }
  void next(Workspace& ws) const { ws.stream.next(); }

  // False if the step is too large to be represented, or leaves no direction.
  bool move(Workspace& ws, double size, double gamma) {
    if (!(size > 0) || gamma == 0) return true;
    return shared_ ? move_shared(ws, gamma, ws.x_scale) : move_rows(ws, gamma, ws.x_scale);
  }

  // Weak recovery: ||(e, m)|| >= eta, or ||m|| / sqrt L untied. The running products only tell when
  // to look.
  bool recovered(Index step) {
    if (step % 4096 == 0)
      measure_teacher_products();  // the running products keep their rounding small
    return overlap_reached();
  }

  OrderParameters measure() const {
    OrderParameters o;
    const double d = double(s_.d);
    std::vector<double> products(v_dot_basis_.size());
    double a = 0;
    for (Index i = 0; i < n_; ++i) {
      if (i == 0 || !s_.spheres.one()) a = w_.exact_scale(i);
      o.m.push_back(a * dot(w_.row(i), teacher_.data(), padded(s_.d)) / d);
      o.q.push_back(a * a * dot(w_.row(i), w_.row(i), padded(s_.d)) / d);
      for (Index k = shared_ ? 0 : i;
           k < (shared_ ? positions_->rank() : std::min(i + 1, positions_->rank())); ++k)
        products[k] = a * dot(w_.row(i), positions_->row(k), padded(s_.d)) / std::sqrt(d);
    }
    for (Index l = 0; l < positions_->tokens(); ++l)
      o.e.push_back(positions_->along(l, products.data()));
    return o;
  }

  void weights(double* out) const {
    checks::given("out", out);
    double a = 0;
    for (Index i = 0; i < n_; ++i) {
      if (i == 0 || !s_.spheres.one()) a = w_.exact_scale(i);
      for (Index j = 0; j < s_.d; ++j) out[i * s_.d + j] = a * double(w_.row(i)[j]);
    }
  }
  void teacher(double* out) const { std::copy_n(teacher_.data(), s_.d, checks::given("out", out)); }
  Matrix positions() const { return positions_->matrix(); }

  Index state_size() const { return 2 * n_ + Index(v_dot_basis_.size()); }
  void save(double* state, void* w) const {
    T* v = static_cast<T*>(checks::given("w", w));
    checks::given("state", state);
    for (Index i = 0; i < n_; ++i) v = std::copy_n(w_.row(i), s_.d, v);
    for (const LineVector<double>* part : {&w_.norm2(), &v_dot_teacher_, &v_dot_basis_})
      state = std::copy(part->begin(), part->end(), state);
  }
  void restore(const double* state, const void* w) {
    check_state(state, w);
    w_.place(static_cast<const T*>(w), s_.d, state);
    state += n_;
    for (auto* part : {&v_dot_teacher_, &v_dot_basis_}) {
      std::copy_n(state, part->size(), part->begin());
      state += part->size();
    }
  }
  void check_state(const double* state, const void* w) const {
    const T* v = static_cast<const T*>(checks::given("w", w));
    checks::given("state", state);
    double all = 0;
    for (Index i = 0; i < n_; ++i) {
      double norm2 = 0;
      for (Index j = 0; j < s_.d; ++j) norm2 += double(v[i * s_.d + j]) * double(v[i * s_.d + j]);
      if (!std::isfinite(norm2) || (state[i] > 0) != (norm2 > 0) ||
          (norm2 == 0 && !s_.spheres.one()))
        Progress::refuse();
      all += norm2;
    }
    if (all == 0) Progress::refuse();
    for (Index i = 0; i < state_size(); ++i)
      if (!std::isfinite(state[i])) Progress::refuse();
  }

 private:
  const T* row(Index i) const { return w_.row(i); }
  Sample sample(Workspace& ws, const double* noise) const {
    return {ws.zstar.data(), ws.z.data(), noise, ws.delta.data(), L_, ws.scratch.data()};
  }

  // Fields z* and z of this step, X in units of ws.x_scale.
  template <class Source>
  void project(Workspace& ws, Source& source, const T* x, Index x_stride) {
    const double x_scale = ws.x_scale;
    offsets(ws);
    ws.x = x;
    ws.x_stride = x_stride;
    if (ws.sums) {
      double u, ustar;
      T* lanes_of = ws.accumulators.data();
      if (task_.sums().link_of_sum) {
        project_sum<false>(source, L_, s_.d, row(0), teacher_.data(), x, x_stride, ws.sum.data(), u,
                           ustar, ws.rawstar.data(), lanes_of);
        std::fill(ws.zstar.begin(), ws.zstar.end(), ustar * x_scale * inverse_L_);
      } else {
        project_sum<true>(source, L_, s_.d, row(0), teacher_.data(), x, x_stride, ws.sum.data(), u,
                          ustar, ws.rawstar.data(), lanes_of);
        for (Index l = 0; l < L_; ++l) ws.zstar[l] = ws.rawstar[l] * x_scale;
      }
      ws.rawstar[0] = ustar;
      const double share = u * w_.scale(0) * x_scale * inverse_L_;
      for (Index l = 0; l < L_; ++l) ws.z[l] = share + ws.offset[l];
      return;
    }
    const auto out = [&](Index l, double raw, double rawstar) SEQSGD_LAMBDA_INLINE {
      ws.z[l] = w_.scale(shared_ ? 0 : l) * x_scale * raw + ws.offset[l];
      ws.rawstar[l] = rawstar;
      ws.zstar[l] = rawstar * x_scale;
    };
    project_tokens(source, L_, s_.d, row(0), shared_ ? 0 : w_.stride(), teacher_.data(), x,
                   x_stride, ws.raw.data(), ws.rawstar.data(), out);
  }

  // What each token's field carries beside x_l . w: e_l or c_l.
  void offsets(Workspace& ws) const {
    if (s_.position == PositionKind::injected)
      std::copy(s_.c.begin(), s_.c.end(), ws.offset.begin());
    for (Index l = 0, n = positions_->tokens(); l < n; ++l)
      ws.offset[l] =
          w_.scale(shared_ ? 0 : l) * inverse_sqrt_d_ * positions_->along(l, v_dot_basis_.data());
  }

  // Count the loss and move the weights by the step's delta.
  bool move_shared(Workspace& ws, double gamma, double x_scale) {
    const Index tokens = ws.sums ? 1 : L_, r = positions_->rank();
    const double cx = gamma * x_scale * w_.inverse_scale(0),
                 cp = gamma * inverse_sqrt_d_ * w_.inverse_scale(0);
    for (Index l = 0; l < tokens; ++l) {
      ws.rows[l] = ws.sums ? ws.sum.data() : ws.x + l * ws.x_stride;
      ws.c[l] = T(cx * ws.delta[l]);
    }
    if (r > 0) positions_->gather(ws.delta.data(), b_.data());
    for (Index k = 0; k < r; ++k) {
      ws.rows[tokens + k] = positions_->row(k);
      ws.c[tokens + k] = T(cp * b_[k]);
    }
    if (!representable(ws, tokens + r)) return false;
    double radial = 0;
    if (s_.projected)
      for (Index l = 0; l < L_; ++l) radial += along_w(ws, l);
    const T a = s_.projected ? T(1 + gamma * radial / w_.radius2()) : T(1);
    if (s_.plan.eta > 0) {
      double t = double(a) * v_dot_teacher_[0];
      for (Index l = 0; l < tokens; ++l) t -= double(ws.c[l]) * ws.rawstar[l];
      for (Index k = 0; k < r; ++k) t -= double(ws.c[tokens + k]) * basis_dot_teacher_[k];
      v_dot_teacher_[0] = t;
    }
    w_.move(0, a, ws.rows.data(), ws.c.data(), tokens + r, r == 1 ? &v_dot_basis_[0] : nullptr);
    const bool rescaled = w_.rescale_if_far(0);
    if (rescaled) measure_teacher_products();
    if (rescaled || r > 1) measure_basis_products(0);
    return w_.sound(0);
  }

  bool move_rows(Workspace& ws, double gamma, double x_scale) {
    const bool global = s_.spheres.one();
    const Index count = positions_->rank() > 0 ? 2 : 1;
    const double cp = gamma * inverse_sqrt_d_;
    double radial = 0;
    for (Index i = 0; i < n_; ++i) {
      const double delta = ws.delta[i] * w_.inverse_scale(i);
      ws.c[2 * i] = T(gamma * x_scale * delta);
      ws.c[2 * i + 1] = T(cp * delta);
      if (s_.projected && global) radial += along_w(ws, i);
    }
    if (!representable(ws, 2 * n_)) return false;
    bool rescaled = false, sound = true;
    for (Index i = 0; i < n_; ++i) {
      if (s_.projected && !global) radial = along_w(ws, i);
      const T a = s_.projected ? T(1 + gamma * radial / w_.radius2()) : T(1);
      const T* c = ws.c.data() + 2 * i;
      ws.rows[0] = ws.x + i * ws.x_stride;
      double t = double(a) * v_dot_teacher_[i] - double(c[0]) * ws.rawstar[i];
      if (count == 2) {
        ws.rows[1] = positions_->row(i);
        t -= double(c[1]) * basis_dot_teacher_[i];
      }
      v_dot_teacher_[i] = t;
      w_.move(i, a, ws.rows.data(), c, count, count == 2 ? &v_dot_basis_[i] : nullptr);
      if (!global) {
        rescaled |= w_.rescale_if_far(i);
        sound &= w_.sound(i);
      }
    }
    if (global) {
      rescaled = w_.rescale_if_far(0);
      sound = w_.sound(0);
    }
    if (rescaled) remeasure();
    return sound;
  }

  // Token l's share of w . G: delta_l (x_l + p_l / sqrt d) . w
  double along_w(const Workspace& ws, Index l) const {
    const double c = s_.position == PositionKind::injected ? s_.c[l] : 0.0;
    return ws.delta[l] * (ws.z[l] - c);
  }

  // Whether squares of these steps still fit T.
  bool representable(const Workspace& ws, Index n) const {
    T sum = 0;
    for (Index i = 0; i < n; ++i) sum += std::fabs(ws.c[i]);
    return double(sum) * std::max(ws.largest_x, positions_->largest()) <
           (sizeof(T) == 4 ? 1e15 : 1e145);  // false for NaN
  }

  // The running products v . w* and v . basis, afresh.
  void remeasure() {
    measure_teacher_products();
    for (Index i = 0; i < n_; ++i) measure_basis_products(i);
  }
  void measure_teacher_products() {
    for (Index i = 0; i < n_; ++i) v_dot_teacher_[i] = dot(row(i), teacher_.data(), padded(s_.d));
  }
  void measure_basis_products(Index i) {
    for (Index k = shared_ ? 0 : i;
         k < (shared_ ? positions_->rank() : std::min(i + 1, positions_->rank())); ++k)
      v_dot_basis_[k] = dot(row(i), positions_->row(k), padded(s_.d));
  }

  bool overlap_reached() const {
    constexpr double margin = sizeof(T) == 4 ? 5e-4 : 1e-8;
    const double d = double(s_.d), least = std::max(0.0, s_.plan.eta - margin);
    double s = 0;
    for (Index i = 0; i < n_; ++i) s += square_of(w_.scale(i) * v_dot_teacher_[i] / d) / double(n_);
    if (shared_)
      for (double g : v_dot_basis_) s += square_of(w_.scale(0) * g) / d;
    if (s < least * least) return false;
    s = 0;
    double a = 0;
    for (Index i = 0; i < n_; ++i) {
      if (i == 0 || !s_.spheres.one()) a = w_.exact_scale(i);
      s += square_of(a * dot(row(i), teacher_.data(), padded(s_.d)) / d) / double(n_);
    }
    if (shared_)
      for (Index k = 0; k < positions_->rank(); ++k)
        s += square_of(a * dot(row(0), positions_->row(k), padded(s_.d))) / d;
    return std::sqrt(s) >= s_.plan.eta;
  }

  static double square_of(double x) { return x * x; }

  const Task& task_;
  const Settings& s_;
  const std::uint32_t run_;
  const Index L_, n_;
  const bool shared_;
  const double inverse_sqrt_d_ = 1 / std::sqrt(double(s_.d)), inverse_L_ = 1 / double(L_);
  Sphere<T> w_;
  Rows<T> teacher_;
  std::shared_ptr<const Positions<T>> positions_;
  LineVector<double> v_dot_teacher_;  // v_i . w*, followed only where weak recovery is asked for
  LineVector<double> v_dot_basis_;  // v . basis_k (own row of P where rows have their own weights)
  LineVector<double> basis_dot_teacher_;  // basis_k . w*
  LineVector<double> b_;                  // scratch: sum_l delta_l p_l along the basis
};

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
