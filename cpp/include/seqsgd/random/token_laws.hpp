// Laws of the token entries other than fresh Gaussian ones, all centred with unit variance, and
// correlated tokens.
#pragma once

#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include "seqsgd/random/normal.hpp"
#include "seqsgd/simd/checks.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

enum class TokenLaw { gaussian, rademacher, uniform, student_t, correlated };

inline const std::vector<std::string>& token_law_names() {
  static const std::vector<std::string> names = {"gaussian", "rademacher", "uniform", "student_t",
                                                 "correlated"};
  return names;
}

inline TokenLaw token_law_named(const std::string& name) {
  const auto& names = token_law_names();
  std::string known;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (names[i] == name) return TokenLaw(i);
    known += (i ? ", " : "") + names[i];
  }
  throw std::invalid_argument("tokens: expected one of " + known + ", got '" + name + "'");
}

// A factor of a positive semi-definite covariance C (L x L): pivoted Cholesky. Token order[i] is
// sum_{k <= i} F_ik of the raw rows order[k], so that rows can be mixed in place from the last i.
struct CovarianceFactor {
  std::vector<int> order;
  std::vector<double> F;  // (L, L) lower-triangular, rows in pivot order
};

inline CovarianceFactor semidefinite_factor(std::vector<double> C, int L) {
  checks::within("L", L, 1, std::numeric_limits<int>::max());
  if (C.size() != std::size_t(L) * std::size_t(L))
    checks::refuse("covariance", "L x L entries, L = " + std::to_string(L), C.size());
  checks::finite("covariance", C);
  const auto at = [L](std::vector<double>& m, int i, int j) -> double& {
    return m[std::size_t(i) * L + j];
  };
  CovarianceFactor f{std::vector<int>(std::size_t(L)), std::vector<double>(C.size(), 0.0)};
  for (int i = 0; i < L; ++i) f.order[std::size_t(i)] = i;
  double scale = 0;
  for (int i = 0; i < L; ++i) scale = std::max(scale, std::fabs(at(C, i, i)));
  const double tolerance = 1e-10 * scale * L;
  const auto refuse = [] {
    throw std::invalid_argument("covariance: expected a positive semi-definite matrix");
  };
  for (int i = 0; i < L; ++i)
    for (int k = 0; k < i; ++k)
      if (std::fabs(at(C, i, k) - at(C, k, i)) > 1e-12 * std::max(scale, std::fabs(at(C, i, k))))
        throw std::invalid_argument("covariance: expected a symmetric matrix");
  for (int j = 0; j < L;
       ++j) {  // C becomes the Schur complement, rows and columns swapped as in `order`
    int best = j;
    for (int i = j; i < L; ++i) {
      if (at(C, i, i) < -tolerance) refuse();
      if (at(C, i, i) > at(C, best, best)) best = i;
    }
    if (best != j) {
      std::swap(f.order[std::size_t(j)], f.order[std::size_t(best)]);
      for (int k = 0; k < L; ++k) std::swap(at(C, j, k), at(C, best, k));
      for (int k = 0; k < L; ++k) std::swap(at(C, k, j), at(C, k, best));
      for (int k = 0; k < j; ++k) std::swap(at(f.F, j, k), at(f.F, best, k));
    }
    const double pivot = at(C, j, j);
    if (pivot <= 1e-14 * scale * L) {  // nothing is left but rounding
      for (int i = j; i < L; ++i)
        for (int k = j; k < L; ++k)
          if (std::fabs(at(C, i, k)) > tolerance) refuse();
      break;
    }
    const double root = std::sqrt(pivot);
    for (int i = j; i < L; ++i) at(f.F, i, j) = at(C, i, j) / root;
    for (int i = j + 1; i < L; ++i)
      for (int k = j + 1; k < L; ++k) at(C, i, k) -= at(f.F, i, j) * at(f.F, k, j);
  }
  return f;
}

struct TokenSettings {
  TokenLaw law = TokenLaw::gaussian;
  double nu = 0;            // degrees of freedom of student_t
  CovarianceFactor factor;  // of the covariance of correlated tokens
};

namespace detail {
// Uniform on (0, 1), symmetric about 1/2: 31 bits.
inline double open_uniform(std::uint32_t u) { return (double(u >> 1) + 0.5) * 0x1p-31; }
}  // namespace detail

// Words that every lane of the generator gives to one row of `fill_tokens`.
template <class T>
Index row_words(TokenLaw law, Index d) {
  if (law == TokenLaw::gaussian || law == TokenLaw::correlated)
    return padded(d) / draw_size * (sizeof(T) == 4 ? 2 : 4);
  return padded(d) / generator_width * (law == TokenLaw::student_t ? 3 : 1);
}

// Fill L padded rows with the tokens of one step (in units of 1/sqrt d); the padding stays zero.
template <class T>
void fill_tokens(const TokenSettings& law, Xoshiro16& g, Index L, Index d, T* X, Index stride) {
  constexpr int w = simd::width<std::uint32_t>;
  for (Index l = 0; l < L; ++l) {
    T* row = X + l * stride;
    if (law.law == TokenLaw::gaussian || law.law == TokenLaw::correlated) {
      fill_normal(g, row, padded(d));
    } else {
      const double t_scale = std::sqrt(law.nu - 2);
      for (Index j = 0; j < padded(d); j += generator_width)
        for (int k = 0; k < Xoshiro16::groups; ++k) {
          const bool t = law.law == TokenLaw::student_t;
          const simd::u32 a = g.next(k), b = t ? g.next(k) : a, c = t ? g.next(k) : a;
          for (int i = 0; i < w; ++i) {
            T& x = row[j + k * w + i];
            if (law.law == TokenLaw::rademacher) x = (a[i] >> 31) ? T(1) : T(-1);
            if (law.law == TokenLaw::uniform)
              x = T((2 * detail::open_uniform(a[i]) - 1) * 1.73205080756887729353);
            if (t) {  // Bailey, Math. Comp. 62 (1994): exact for every nu, tails down to 2^-64;
                      // scaled to unit variance
              const double u = (double(a[i]) * 0x1p32 + double(b[i]) + 0.5) * 0x1p-64;
              x = T(t_scale * std::sqrt(std::expm1(-2 / law.nu * std::log(u))) *
                    std::cos(6.28318530717958647693 * detail::open_uniform(c[i])));
            }
          }
        }
    }
    std::fill(row + d, row + padded(d), T(0));
  }
  if (law.law == TokenLaw::correlated)
    for (Index i = L - 1; i >= 0; --i) {
      const double* f = law.factor.F.data() + i * L;
      T* row = X + law.factor.order[std::size_t(i)] * stride;
      for (Index j = 0; j < d; ++j) row[j] *= T(f[i]);
      for (Index k = 0; k < i; ++k)
        if (f[k] != 0) {
          const T c = T(f[k]), *other = X + law.factor.order[std::size_t(k)] * stride;
          for (Index j = 0; j < d; ++j) row[j] += c * other[j];
        }
    }
}

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
