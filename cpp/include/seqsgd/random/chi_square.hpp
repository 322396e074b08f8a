// Chi-square draws, exact in law for every number of degrees of freedom, at a cost that does not
// grow with it.
//
// Few degrees of freedom: -2 ln of a product of dof / 2 uniforms, and a normal's square if dof is
// odd. Many: a function of one normal (normal_to_chi_square.hpp). Neither refuses a draw.
//
// Between them, and one at a time, Marsaglia and Tsang (ACM TOMS 26, 2000): with a = dof / 2 - 1/3,
// c = (9 a)^-1/2, x normal and w = c x > -1, twice a (1 + w)^3 has the law once it is accepted with
// probability exp(h), h = x^2/2 + a (1 - v + ln v), v = (1 + w)^3. Expanding, h = -(3/4) a w^4 +
// (3/5) a w^5 - ..., hence exp(h) >= 1 - (3/4) a w^4 / (1 - |w|): a first draw is accepted on sight
// but for a fraction of order 1/dof, and only then is the logarithm taken, one run at a time.
#pragma once

#include <algorithm>
#include <limits>
#include <optional>
#include <type_traits>

#include "seqsgd/random/normal_to_chi_square.hpp"
#include "seqsgd/random/run_generators.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

class ChiSquare {
 public:
  explicit ChiSquare(Index dof)
      : dof(dof), a_(double(dof) / 2 - 1.0 / 3), c_(dof > 1 ? 1 / std::sqrt(9 * a_) : 0) {}
  const Index dof;

  double operator()(ScalarPhilox& g) const {
    if (dof == 0) return 0;
    if (dof == 1) {
      const double x = g.normal();
      return x * x;
    }
    for (;;) {
      const double x = g.normal(), u = g.uniform();
      if (accepts(x, u)) return value(x);
    }
  }

 protected:
  template <class X>
  SEQSGD_INLINE X value(const X& x) const {
    using T = typename Element<X>::type;
    const X v = T(1) + no_contract(T(c_) * x);
    return T(2 * a_) * v * v * v;
  }
  bool accepts(double x, double u) const { return -std::log1p(-u) > hazard(x); }
  // Where that is to be asked; elsewhere the answer is yes. u is as good as 1 - u.
  template <class X>
  SEQSGD_INLINE typename MaskOf<X>::type doubtful(const X& x, const X& u) const {
    using T = typename Element<X>::type;
    const X w = no_contract(T(c_) * x), w2 = w * w;
    return typename MaskOf<X>::type(
        u * (T(1) - absolute(w)) <=
        T(0.75 * a_) * w2 * w2);  // (on Windows Clang's own has elements of another name)
  }

 private:
  // -h
  double hazard(double x) const {
    const double w = c_ * x;
    if (!(w > -1)) return std::numeric_limits<double>::infinity();
    if (std::fabs(w) > 0x1p-4)
      return std::max(0.0, 3 * a_ * (w + w * w + w * w * w / 3 - std::log1p(w)) - 0.5 * x * x);
    double sum = 0;  // of (-w)^(k - 4) / k, to rounding
    for (int k = 16; k >= 4; --k) sum = 1.0 / k - w * sum;
    return 3 * a_ * (w * w) * (w * w) * sum;
  }
  double a_, c_;
};

// For runs side by side, from normals and uniforms in one precision.
class ChiSquarePack : public ChiSquare {
 public:
  ChiSquarePack(Index dof, bool single) : ChiSquare(dof) {
    if (dof >= NormalToChiSquare::least) of_normal_.emplace(dof, single);
  }
  static constexpr Index most_uniforms = 6;
  // Whether a draw is a function of one normal.
  bool many() const { return of_normal_.has_value(); }
  const NormalToChiSquare& of_normal() const { return *of_normal_; }
  // What a draw takes.
  Index normals() const { return few() ? dof % 2 : 1; }
  Index uniforms() const { return few() ? dof / 2 : many() ? 0 : 1; }

  // `rejection(lane)` gives a ScalarPhilox for the few draws that need more.
  template <bool Many = false, class X,
            class Rejection>  // Many: it is known that there are many degrees of freedom
  SEQSGD_INLINE X draw(const X* normals, const X* uniforms, Rejection rejection) const {
    if (Many || many()) return of_normal()(*normals);
    if (few()) return from_few(normals, uniforms);
    const auto asked = doubtful(*normals, *uniforms);
    return __builtin_expect(any(asked), 0) ? redrawn(*normals, *uniforms, asked, rejection)
                                           : value(*normals);
  }

 private:
  bool few() const { return dof < 2 * most_uniforms + 2; }
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
  template <class X, class Mask, class Rejection>
  __attribute__((noinline)) X redrawn(const X& x, const X& u, const Mask& asked,
                                      Rejection rejection) const {
    X r = value(x);
    for (int i = 0; i < Pack::size; ++i)
      if (asked[i] && !accepts(double(x[i]), double(u[i]))) {
        ScalarPhilox g = rejection(i);
        r[i] = typename Element<X>::type((*this)(g));
      }
    return r;
  }

  std::optional<NormalToChiSquare> of_normal_;
};

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
