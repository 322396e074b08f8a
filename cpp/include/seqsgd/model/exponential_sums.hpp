// Long sequences: the sums over k of exp(z_l z_k) for all l together, in O(L) instead of O(L^2)
// exponentials.
//
// F(x) = sum_k w_k exp(x z_k) = sum_n (s^2)^n / n! M_n (x/s)^n with the moments M_n = sum_k w_k
// (z_k/s)^n and s = max |z|, to the order at which the series has converged to rounding. Used where
// s^2 is small enough for the series to lose nothing: row l's sum holds exp(z_l^2), so terms of the
// other sign exceed it by at most exp(s^2/4), a factor of 80 at the limit below.
#pragma once

#include <algorithm>
#include <cmath>

#include "seqsgd/simd/math.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

class ExponentialSums {
 public:
  static constexpr int least_L = 48;
  static constexpr double largest = 4.2;

  // Whether the series serves these fields (false for non-finite ones).
  static bool serves(const double* z, int L, double& s) {
    if (L < least_L) return false;
    const auto [low, high] = std::minmax_element(z, z + L);
    s = std::max(-*low, *high);
    return s > 1e-3 && s <= largest && std::isfinite(*low + *high);
  }

  // (1/sqrt L) trace S(z) and its gradient, see softmax_trace; w is scratch of L.
  static double trace(const double* z, int L, double s, double* gradient, double* w) {
    const ExponentialSums order(s);
    Series F = order.zero(), G = order.zero();
    const double scale = 1 / std::sqrt(double(L));
    blocks(L, [&](int at, int n) { order.add(F, z, nullptr, at, n); });
    order.finish(F, L);
    simd::f64 total{};
    blocks(L, [&](int at, int n) {
      V x[P], f[P], slope[P];
      read(z, at, n, x);
      order.value(F, x, f, slope);
      V g[P], weight[P];
      for (int i = 0; i < P; ++i) {
        const V S = seqsgd::exp(x[i] * x[i]) / f[i], a = scale * S;
        g[i] = a * (2.0 * x[i] - slope[i] / f[i]);
        weight[i] = a * x[i] / f[i];
        total += n >= (i + 1) * W ? S : first(S, n - i * W);
      }
      write(gradient, at, n, g);
      write(w, at, n, weight);
      order.add(G, z, w, at, n);
    });
    order.finish(G, 0);
    blocks(L, [&](int at, int n) {
      V x[P], f[P], slope[P], g[P];
      read(z, at, n, x);
      order.value(G, x, f, slope);
      read(gradient, at, n, g);
      for (int i = 0; i < P; ++i) g[i] -= f[i];
      write(gradient, at, n, g);
    });
    return scale * simd::sum<double>(total);
  }

 private:
  using V = simd::f64;
  static constexpr int W = simd::width<double>, P = 4,
                       terms = 96;  // P vectors at a time hide the latency of a recurrence
  struct Series {
    V moment[terms];
    double b[terms];
  };

  explicit ExponentialSums(double s) : s_(s) {
    const double A = s * s;
    double c = 1;
    n_ = 0;
    while (n_ < terms && !(double(n_) > A && c < 1e-19)) {
      c_[n_] = c;
      c *= A / ++n_;
    }
  }
  Series zero() const {
    Series r;
    for (int n = 0; n < n_; ++n) r.moment[n] = V{};
    return r;
  }
  template <class F>
  static void blocks(int L, F f) {
    for (int at = 0; at < L; at += P * W) f(at, std::min(P * W, L - at));
  }
  // Zeros beyond the n-th.
  static void read(const double* p, int at, int n, V (&x)[P]) {
    for (int i = 0; i < P; ++i)
      x[i] = n >= (i + 1) * W ? simd::load(p + at + i * W)
             : n > i * W      ? simd::load_first(p + at + i * W, n - i * W)
                              : V{};
  }
  static void write(double* p, int at, int n, const V (&x)[P]) {
    for (int i = 0; i < P; ++i) {
      if (n >= (i + 1) * W)
        simd::store(p + at + i * W, x[i]);
      else
        for (int j = 0; j < n - i * W; ++j) p[at + i * W + j] = x[i][j];
    }
  }
  static V first(V x, int n) {
    for (int j = std::max(n, 0); j < W; ++j) x[j] = 0;
    return x;
  }
  // Moments from order 1; with weights, from order 0.
  void add(Series& r, const double* z, const double* w, int at, int n) const {
    V u[P], p[P];
    read(z, at, n, u);
    for (int i = 0; i < P; ++i) u[i] *= 1 / s_;
    if (w)
      read(w, at, n, p);
    else
      for (int i = 0; i < P; ++i) p[i] = V{} + 1.0;
    for (int k = 0; k < n_; ++k) {
      if (k || w) r.moment[k] += (p[0] + p[1]) + (p[2] + p[3]);
      for (int i = 0; i < P; ++i) p[i] *= u[i];
    }
  }
  void finish(Series& r, double zeroth) const {
    for (int k = 0; k < n_; ++k) r.b[k] = c_[k] * simd::sum<double>(r.moment[k]);
    r.b[0] += zeroth;
  }
  // Value and derivative at x.
  void value(const Series& r, const V (&x)[P], V (&f)[P], V (&slope)[P]) const {
    V u[P];
    for (int i = 0; i < P; ++i) {
      u[i] = x[i] * (1 / s_);
      f[i] = V{} + r.b[n_ - 1];
      slope[i] = V{};
    }
    for (int k = n_ - 2; k >= 0; --k)
      for (int i = 0; i < P; ++i) {
        slope[i] = slope[i] * u[i] + f[i];
        f[i] = f[i] * u[i] + r.b[k];
      }
    for (int i = 0; i < P; ++i) slope[i] *= 1 / s_;
  }

  double s_;
  int n_;
  double c_[terms];
};

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
