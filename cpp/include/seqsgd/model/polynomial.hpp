// Polynomials in the fields z_1, ..., z_L in Hermite coefficients: a number type with +, - and *. A
// link written over its number type, evaluated at z_l = Polynomial::field(l), yields its terms.
#pragma once

#include <algorithm>
#include <iterator>
#include <map>
#include <utility>
#include <vector>

#include "seqsgd/simd/simd.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

class Polynomial {
 public:
  using Series = std::vector<double>;     // c of sum_k c_k He_k(z_l)
  using Factors = std::map<int, Series>;  // by token, from 0
  // coefficient * prod_l (series of token l)
  struct Product {
    double coefficient;
    Factors factors;
  };

  Polynomial() = default;
  static Polynomial field(int token) {
    Polynomial p;
    p.singles_[token] = {0, 1};
    return p;
  }

  // It as a sum of products. A factor that is a series of one token, as 1 + z_l, stays one.
  std::vector<Product> terms() const {
    if (is_series() && !singles_.empty()) {
      Product one{1, singles_};
      one.factors.begin()->second[0] = constant_;
      return {one};
    }
    std::vector<Product> out;
    if (constant_ != 0) out.push_back({constant_, {}});
    for (const auto& single : singles_) out.push_back({1, {single}});
    out.insert(out.end(), products_.begin(), products_.end());
    return out;
  }

  Polynomial& operator+=(double c) {
    constant_ += c;
    return *this;
  }
  Polynomial& operator+=(const Polynomial& p) {
    add(1, p);
    return *this;
  }
  Polynomial& operator*=(double c) {
    constant_ *= c;
    for (auto& [token, series] : singles_)
      for (double& x : series) x *= c;
    for (Product& p : products_) p.coefficient *= c;
    return *this;
  }
  Polynomial& operator*=(const Polynomial& p) {
    if (products_.size() == 1 && singles_.empty() && constant_ == 0 && p.is_series() &&
        !p.singles_.empty() && !products_[0].factors.count(p.singles_.begin()->first)) {
      const Product one = p.terms()[0];  // a long product grows in place
      products_[0].factors.insert(*one.factors.begin());
      return *this;
    }
    Polynomial out;
    const std::vector<Product> left = terms(), right = p.terms();
    for (const Product& a : left)
      for (const Product& b : right) out.add(a * b);
    return *this = std::move(out);
  }

  friend Polynomial operator+(Polynomial a, const Polynomial& b) { return std::move(a += b); }
  friend Polynomial operator+(Polynomial a, double c) { return std::move(a += c); }
  friend Polynomial operator+(double c, Polynomial a) { return std::move(a += c); }
  friend Polynomial operator-(Polynomial a, double c) { return std::move(a += -c); }
  friend Polynomial operator-(Polynomial a, const Polynomial& b) {
    a.add(-1, b);
    return a;
  }
  friend Polynomial operator*(Polynomial a, const Polynomial& b) { return std::move(a *= b); }
  friend Polynomial operator*(Polynomial a, double c) { return std::move(a *= c); }
  friend Polynomial operator*(double c, Polynomial a) { return std::move(a *= c); }

 private:
  bool is_series() const { return products_.empty() && singles_.size() <= 1; }
  // He_m He_n = sum_j j! C(m, j) C(n, j) He_{m + n - 2 j}
  static Series times(const Series& a, const Series& b) {
    Series out(a.size() + b.size() - 1, 0.0);
    for (std::size_t m = 0; m < a.size(); ++m)
      for (std::size_t n = 0; n < b.size(); ++n) {
        double pack_vectors = a[m] * b[n];
        for (std::size_t j = 0; pack_vectors != 0 && j <= std::min(m, n); ++j) {
          out[m + n - 2 * j] += pack_vectors;
          pack_vectors *= double(m - j) * double(n - j) / double(j + 1);
        }
      }
    return out;
  }
  friend Product operator*(const Product& a, const Product& b) {
    Product out{a.coefficient * b.coefficient, a.factors};
    for (const auto& [token, series] : b.factors) {
      const auto [at, fresh] = out.factors.insert({token, series});
      if (!fresh) at->second = times(at->second, series);
    }
    return out;
  }
  void add(double scale, const Polynomial& p) {
    constant_ += scale * p.constant_;
    for (const auto& single : p.singles_) add({scale, {single}});
    for (Product one : p.products_) {
      one.coefficient *= scale;
      add(std::move(one));
    }
  }
  void add(Product p) {
    if (p.coefficient == 0) return;
    if (p.factors.size() > 1) return products_.push_back(std::move(p));
    if (p.factors.empty()) {
      constant_ += p.coefficient;
      return;
    }
    const auto& [token, series] = *p.factors.begin();
    Series& sum = singles_[token];
    if (sum.size() < series.size()) sum.resize(series.size(), 0.0);
    constant_ += p.coefficient * series[0];
    for (std::size_t k = 1; k < series.size(); ++k) sum[k] += p.coefficient * series[k];
    while (!sum.empty() && sum.back() == 0) sum.pop_back();
    if (sum.empty()) singles_.erase(token);
  }

  double constant_ = 0;
  Factors singles_;                // of terms with one token, with c_0 = 0
  std::vector<Product> products_;  // of two or more tokens
};

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
