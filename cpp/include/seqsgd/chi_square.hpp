// Chi-square draws, exact in law for every number of degrees of freedom, at a cost that does not grow with it.
//
// Marsaglia and Tsang (ACM TOMS 26, 2000): with a = dof / 2 - 1/3, c = (9 a)^-1/2, x normal and w = c x > -1, twice a (1 + w)^3 has the law once it is accepted
// with probability exp(h), h = x^2/2 + a (1 - v + ln v), v = (1 + w)^3. Expanding, h = -(3/4) a w^4 + (3/5) a w^5 - ..., hence exp(h) >= 1 - (3/4) a w^4 / (1 - |w|): a
// first draw is accepted on sight but for a fraction of order 1/dof, and only then is the logarithm taken, one run at a time.
//
// For a few degrees of freedom, where that fraction is large, -2 ln of a product of dof / 2 uniforms, and a normal's square if dof is odd: no draw is refused.
#pragma once

#include <algorithm>
#include <limits>
#include <optional>
#include <type_traits>

#include "numbers.hpp"
#include "run_lanes.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

class ChiSquare {
 public:
  explicit ChiSquare(Index dof) : dof(dof), a_(double(dof) / 2 - 1.0 / 3), c_(dof > 1 ? 1 / std::sqrt(9 * a_) : 0) {}

  const Index dof;
  static constexpr Index most_uniforms = 6;
  bool few() const { return dof < 2 * most_uniforms + 2; }
  // What a draw takes.
  Index normals() const { return few() ? dof % 2 : 1; }
  Index uniforms() const { return few() ? dof / 2 : 1; }

  // From its normals and uniforms to a run; `again(lane)` gives a OneByOne for the few that need more.
  template <bool Many = false, class X, class Again>  // Many: dof is known not to be few
  SEQSGD_INLINE X draw(const X* normals, const X* uniforms, Again again) const {
    using T = typename Element<X>::type;
    if (!Many && few()) return from_few(normals, uniforms);
    const X &x = *normals, &u = *uniforms, w = rounded(T(c_) * x), v = T(1) + w, w2 = w * w;
    const X r = T(2 * a_) * v * v * v;
    using Mask = typename MaskOf<X>::type;  // (on Windows Clang's own has elements of another name)
    const Mask unsure = Mask(u * (T(1) - absolute(w)) <= T(0.75 * a_) * w2 * w2);  // u is as good as 1 - u
    return __builtin_expect(any(unsure), 0) ? settled(x, u, unsure, r, again) : r;
  }

  double operator()(OneByOne& g) const {
    if (dof == 0) return 0;
    if (dof == 1) {
      const double x = g.normal();
      return x * x;
    }
    return value(accepted(g));
  }

  // For draws in groups that share one uniform: twice a (1 + c x)^3 from every normal x that is left once the group has been `reviewed`, which is not needed where
  // the uniform exceeds bound() times the sum of x^4. So it is for many degrees of freedom, where no normal that is ever drawn (|x| < 8.6) makes |w| exceed 1/2.
  bool in_groups() const { return dof >= 72; }
  double scale() const { return 2 * a_; }
  double slope() const { return c_; }
  double bound() const { return 0.75 * a_ * c_ * c_ * c_ * c_ / (1 - 8.6 * c_); }

  // Normal i of a group, x(i), is refused with the probability it is refused with alone, 1 - exp(h), independently, and replaced by one that is not. One uniform
  // decides on all: -ln(1 - u) is exponential, and the first to be refused is the one with which the sum of -h exceeds it; for those behind a new uniform decides.
  // again() gives a OneByOne, if one is needed.
  template <class X, class Again>
  void review(Index n, double u, Again again, X x) const {
    std::optional<OneByOne> g;
    double left = -std::log1p(-u);
    for (Index i = 0; i < n; ++i) {
      left -= hazard(double(x(i)));
      if (left > 0) continue;
      if (!g) g.emplace(again());
      x(i) = std::decay_t<decltype(x(i))>(accepted(*g));
      left = -std::log1p(-g->uniform());
    }
  }

 private:
  bool accepts(double x, double u) const { return -std::log1p(-u) > hazard(x); }
  double accepted(OneByOne& g) const {
    for (;;) {
      const double x = g.normal(), u = g.uniform();
      if (accepts(x, u)) return x;
    }
  }
  // -h
  double hazard(double x) const {
    const double w = c_ * x;
    if (!(w > -1)) return std::numeric_limits<double>::infinity();
    if (std::fabs(w) > 0x1p-4) return std::max(0.0, 3 * a_ * (w + w * w + w * w * w / 3 - std::log1p(w)) - 0.5 * x * x);
    double sum = 0;  // of (-w)^(k - 4) / k, to rounding
    for (int k = 16; k >= 4; --k) sum = 1.0 / k - w * sum;
    return 3 * a_ * (w * w) * (w * w) * sum;
  }
  double value(double x) const {
    const double v = 1 + c_ * x;
    return 2 * a_ * v * v * v;
  }
  template <class X>
  SEQSGD_INLINE X from_few(const X* normals, const X* uniforms) const {
    X r{};
    if (dof > 1) {
      X u = uniforms[0];
      for (Index i = 1; i < dof / 2; ++i) u *= uniforms[i];
      r = each_vector(u, [](auto x) SEQSGD_LAMBDA_INLINE {
        decltype(x) from[1] = {x}, to[1];
        BoxMuller::minus_two_log(from, to);
        return to[0];
      });
    }
    return dof % 2 ? r + normals[0] * normals[0] : r;
  }
  template <class X, class Mask, class Again>
  __attribute__((noinline)) X settled(const X& x, const X& u, const Mask& unsure, X r, Again again) const {
    for (int i = 0; i < wide; ++i)
      if (unsure[i] && !accepts(double(x[i]), double(u[i]))) {
        OneByOne g = again(i);
        r[i] = typename Element<X>::type((*this)(g));
      }
    return r;
  }

  double a_, c_;
};

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
