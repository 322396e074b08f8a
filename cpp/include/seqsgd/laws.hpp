// Laws of the token entries other than fresh Gaussian ones, all centred with unit variance, and correlated tokens.
#pragma once

#include <cmath>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

enum class TokenLaw { gaussian, rademacher, uniform, student_t, correlated };

inline const std::vector<std::string>& token_law_names() {
  static const std::vector<std::string> names = {"gaussian", "rademacher", "uniform", "student_t", "correlated"};
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

// Lower-triangular F with F F^T = C, for a positive semi-definite C (L x L, row-major). Vanishing pivots give empty columns.
inline std::vector<double> semidefinite_factor(const std::vector<double>& C, int L) {
  if (C.size() != std::size_t(L) * L) throw std::invalid_argument("covariance: expected L x L entries");
  std::vector<double> F(C.size(), 0.0);
  double scale = 0;
  for (int i = 0; i < L; ++i) scale = std::max(scale, C[std::size_t(i) * L + i]);
  const double tolerance = 1e-12 * scale * L;
  for (int j = 0; j < L; ++j) {
    double pivot = C[std::size_t(j) * L + j];
    for (int k = 0; k < j; ++k) pivot -= F[std::size_t(j) * L + k] * F[std::size_t(j) * L + k];
    if (!(pivot >= -tolerance)) throw std::invalid_argument("covariance: expected a positive semi-definite matrix");
    const double root = pivot > tolerance ? std::sqrt(pivot) : 0;
    F[std::size_t(j) * L + j] = root;
    for (int i = j + 1; i < L; ++i) {
      double s = C[std::size_t(i) * L + j];
      for (int k = 0; k < j; ++k) s -= F[std::size_t(i) * L + k] * F[std::size_t(j) * L + k];
      if (root == 0 && std::fabs(s) > 1e-6 * scale) throw std::invalid_argument("covariance: expected a positive semi-definite matrix");
      F[std::size_t(i) * L + j] = root > 0 ? s / root : 0;
    }
  }
  return F;
}

struct TokenSettings {
  TokenLaw law = TokenLaw::gaussian;
  double nu = 0;               // degrees of freedom of student_t
  std::vector<double> factor;  // lower-triangular factor of the covariance
};

namespace detail {
// Uniform on (0, 1), symmetric about 1/2: 31 bits.
inline double open_uniform(std::uint32_t u) { return (double(u >> 1) + 0.5) * 0x1p-31; }
}  // namespace detail

// Words that every lane of the generator gives to one row of `fill_tokens`.
template <class T>
Index row_words(TokenLaw law, Index d) {
  if (law == TokenLaw::gaussian || law == TokenLaw::correlated) return padded(d) / unit * (sizeof(T) == 4 ? 2 : 4);
  return padded(d) / lanes * (law == TokenLaw::student_t ? 2 : 1);
}

// Fill L padded rows with the tokens of one step (in units of 1/sqrt d); the padding stays zero.
template <class T>
void fill_tokens(const TokenSettings& law, Lanes& g, Index L, Index d, T* X, Index stride) {
  constexpr int w = simd::width<std::uint32_t>;
  for (Index l = 0; l < L; ++l) {
    T* row = X + l * stride;
    if (law.law == TokenLaw::gaussian || law.law == TokenLaw::correlated) {
      fill_normal(g, row, padded(d));
    } else {
      const double t_scale = std::sqrt(law.nu - 2);
      for (Index j = 0; j < padded(d); j += lanes)
        for (int k = 0; k < Lanes::groups; ++k) {
          const simd::u32 a = g.next(k), b = law.law == TokenLaw::student_t ? g.next(k) : a;
          for (int i = 0; i < w; ++i) {
            T& x = row[j + k * w + i];
            if (law.law == TokenLaw::rademacher) x = (a[i] >> 31) ? T(1) : T(-1);
            if (law.law == TokenLaw::uniform) x = T((2 * detail::open_uniform(a[i]) - 1) * 1.73205080756887729353);
            if (law.law == TokenLaw::student_t)  // Bailey, Math. Comp. 62 (1994): exact for every nu; scaled to unit variance
              x = T(t_scale * std::sqrt(std::expm1(-2 / law.nu * std::log(detail::open_uniform(a[i])))) * std::cos(6.28318530717958647693 * detail::open_uniform(b[i])));
          }
        }
    }
    std::fill(row + d, row + padded(d), T(0));
  }
  if (law.law == TokenLaw::correlated)  // rows <- F rows, from the last so that it works in place
    for (Index l = L - 1; l >= 0; --l) {
      const double* f = law.factor.data() + l * L;
      T* row = X + l * stride;
      for (Index j = 0; j < d; ++j) row[j] *= T(f[l]);
      for (Index k = 0; k < l; ++k)
        if (f[k] != 0)
          for (Index j = 0; j < d; ++j) row[j] += T(f[k]) * X[k * stride + j];
    }
}

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
