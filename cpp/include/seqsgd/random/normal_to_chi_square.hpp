// A standard normal becomes a chi-square by the increasing map between the two laws: exact in law,
// with nothing to refuse.
//
// With k = dof / 2, s = k^(-1/2) and 2 (k + sqrt(k) y) for the chi-square, densities agree where
//
//     y'' (1 + s y) + z y' (1 + s y) = y'^2 (y + s),    y = z + s y_1 + s^2 y_2 + ...,
//
// and order j is y_j'' - z y_j' - y_j = a polynomial of lower orders. It has one solution that is a
// polynomial, of degree j + 1: the one of which both tails are right (the expansion of Cornish and
// Fisher, Rev. Inst. Int. Stat. 5, 1938, to any order). For a given number of degrees of freedom
// the sum is one polynomial of z, and what Chebyshev polynomials can do without on the interval
// where normals are drawn is taken from its degree.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <type_traits>
#include <vector>

#include "seqsgd/simd/math.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

class NormalToChiSquare {
 public:
  static constexpr Index least = 72;  // degrees of freedom
  // Of normals up to `range` the chi-square is right within `error` of its standard deviations, of
  // the few beyond within 4e-8, in single precision 2e-4: the probability to be below any number is
  // right within 4e-13, in single precision 4e-7. What rounding of the chi-square itself does comes
  // on top.
  static constexpr double range(bool single) { return single ? 5.0 : 6.2; }
  static constexpr double error(bool single) { return single ? 1e-6 : 1e-12; }

  // single: for normals in single precision
  NormalToChiSquare(Index dof, bool single) {
    const double root_k = std::sqrt(double(dof) / 2), scale = range(single);
    Polynomial y{};  // of x = z / scale
    for (int m = 0; m <= orders; ++m) {
      double power = std::pow(root_k, double(-std::max(0, m - 1)));
      for (int j = std::max(0, m - 1); j < orders; ++j, power /= root_k)
        y[m] += power * expansion()[std::size_t(j)][m];
      y[m] *= std::pow(scale, double(m));
    }
    Polynomial least_degree = y;
    const int needed = shorten(least_degree, 0, error(single));
    degree_ = *std::find_if(std::begin(degrees), std::end(degrees) - 1,
                            [&](int D) { return D >= needed; });
    shorten(y, degree_, 1);
    for (int m = 0; m <= degree_; ++m) {
      double_[std::size_t(m)] =
          2 * root_k * y[m] / std::pow(scale, double(m)) + (m == 0 ? double(dof) : 0.0);
      single_[std::size_t(m)] = float(double_[std::size_t(m)]);
    }
  }

  int degree() const { return degree_; }
  // f(D), with the degree known to the compiler; T: precision in which `at` is to be computed.
  template <class T, class F>
  SEQSGD_INLINE void with_degree(F f) const {
    if (degree_ == 4) return f(std::integral_constant<int, 4>());
    if (sizeof(T) == 4 || degree_ == 6)
      return f(std::integral_constant<int, 6>());  // (enough for normals in single precision,
                                                   // whatever T is)
    if constexpr (sizeof(T) == 8) {
      if (degree_ == 8) return f(std::integral_constant<int, 8>());
      if (degree_ == 10) return f(std::integral_constant<int, 10>());
      if (degree_ == 12) return f(std::integral_constant<int, 12>());
      f(std::integral_constant<int, 14>());
    }
  }
  template <int D, class X>
  SEQSGD_INLINE X at(const X& z) const {
    const auto* c = coefficients(typename Element<X>::type());
    X p = z * c[D] + c[D - 1];
    for (int m = D - 2; m >= 0; --m) p = p * z + c[m];
    return p;
  }
  template <class X>
  SEQSGD_INLINE X operator()(const X& z) const {
    X x;
    with_degree<typename Element<X>::type>([&](auto D)
                                               SEQSGD_LAMBDA_INLINE { x = at<D.value>(z); });
    return x;
  }

 private:
  static constexpr int orders = 41, degrees[] = {4, 6, 8, 10, 12, 14};
  struct Polynomial : std::array<double, orders + 1> {
    double& operator[](int m) { return std::array<double, orders + 1>::operator[](std::size_t(m)); }
    double operator[](int m) const {
      return std::array<double, orders + 1>::operator[](std::size_t(m));
    }
    void add(double factor, const Polynomial& a, const Polynomial& b) {
      for (int i = 0; i <= orders; ++i)
        for (int k = 0; a[i] != 0 && k <= orders - i; ++k) (*this)[i + k] += factor * a[i] * b[k];
    }
    Polynomial derivative() const {
      Polynomial d{};
      for (int m = 1; m <= orders; ++m) d[m - 1] = m * (*this)[m];
      return d;
    }
  };

  // y_0, y_1, ...
  static const std::vector<Polynomial>& expansion() {
    static const std::vector<Polynomial> made = [] {
      const Polynomial one{{{1}}}, z{{{0, 1}}};
      std::vector<Polynomial> y(orders, Polynomial{}), slope(y), slope2(y),
          left(y);  // y', y'^2 and y'' + z y'
      for (int j = 0; j < orders; ++j) {
        const auto of = [](std::vector<Polynomial>& v, int i) -> Polynomial& {
          return v[std::size_t(i)];
        };
        Polynomial& c = of(y, j);
        c = j == 0 ? z : Polynomial{};
        if (j > 0) {
          Polynomial rest{};
          for (int i = 0; i < j; ++i) {
            rest.add(1, of(left, i), of(y, j - 1 - i));
            rest.add(-1, of(slope, i), of(slope, j - 1 - i));
            if (i > 0)
              rest.add(-1, of(slope2, i), of(y, j - i)),
                  of(slope2, j).add(1, of(slope, i), of(slope, j - i));
          }
          rest.add(-1, of(slope2, j), z);
          for (int m = orders; m >= 0; --m)
            c[m] = (m + 2 <= orders ? (m + 2) * c[m + 2] : 0.0) + rest[m] / (m + 1);
        }
        of(slope, j) = c.derivative();
        of(slope2, j).add(j == 0 ? 1 : 2, one, of(slope, j));
        of(left, j) = of(slope, j).derivative();
        of(left, j).add(1, z, of(slope, j));
      }
      return y;
    }();
    return made;
  }
  // Takes Chebyshev polynomials from a polynomial, from the highest downwards, as long as no point
  // of [-1, 1] moves by more than `most` in all; returns the degree that is left.
  static int shorten(Polynomial& y, int least_degree, double most) {
    static const std::vector<Polynomial> T = [] {
      std::vector<Polynomial> all(orders + 1, Polynomial{});
      all[0][0] = all[1][1] = 1;
      for (std::size_t m = 2; m <= orders; ++m)
        for (int i = 0; i <= orders; ++i)
          all[m][i] = (i > 0 ? 2 * all[m - 1][i - 1] : 0.0) - all[m - 2][i];
      return all;
    }();
    int m = orders;
    for (; m > least_degree; --m) {
      const double top = y[m] / T[std::size_t(m)][m];
      if ((most -= std::fabs(top)) < 0) break;
      for (int i = 0; i <= m; ++i) y[i] -= top * T[std::size_t(m)][i];
    }
    return m;
  }
  const double* coefficients(double) const { return double_.data(); }
  const float* coefficients(float) const { return single_.data(); }

  int degree_ = 0;
  std::array<double, 15> double_{};
  std::array<float, 15> single_{};
};

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
