// Link functions g: R^L -> R^k, the teachers of the sequence single-index model.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "seqsgd/model/attention_lanes.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

// A function of sums alone: first sum_l z_l + second sum_l (z_l^2 - 1). Both 0: none.
struct OfSums {
  double first = 0, second = 0;
};

class Link {
 public:
  Link(int L, int k, OfSums of_sums = OfSums())
      : L(L),
        k(k),
        of_sums(of_sums),
        by_sums(of_sums.first != 0 || of_sums.second != 0),
        sums_only(by_sums && of_sums.second == 0) {
    checks::within("L", L, 1, std::numeric_limits<int>::max());
    checks::within("k", k, 1, std::numeric_limits<int>::max());
  }
  virtual ~Link() = default;
  virtual void operator()(const double* zstar, double* y) const = 0;
  // Runs side by side, of which the first `count` matter: L numbers of runs in, k out. One run
  // after the other unless a link knows better.
  virtual void lanes(const Runs* zstar, Runs* y, int count) const {
    thread_local std::vector<double> own;  // grows once per thread
    const std::size_t n = std::size_t(L), out = std::size_t(k);
    std::vector<double> mine;
    mine.swap(own);  // a link of the user's may come back here
    if (mine.size() < n + out) mine.resize(n + out);
    double *one = mine.data(), *value = one + n;
    for (int i = 0; i < Runs::length; ++i) {
      if (i < count) {
        for (std::size_t l = 0; l < n; ++l) one[l] = zstar[l][i];
        (*this)(one, value);
      }
      for (std::size_t j = 0; j < out; ++j) y[j][i] = value[j];
    }
    mine.swap(own);
  }
  virtual bool slow() const { return false; }  // calls back into an interpreter

  const int L, k;
  const OfSums of_sums;
  const bool
      by_sums;  // depends on z* through its sum and that of its squares alone, as of_sums says
  const bool sums_only;  // through its sum alone
};
using LinkPtr = std::shared_ptr<const Link>;

// A scalar link from a functor V(const V* z, int L), times a scale.
template <class F>
class MadeLink final : public Link {
 public:
  MadeLink(F f, int L, double scale) : Link(L, 1), f_(std::move(f)), scale_(scale) {}
  void operator()(const double* z, double* y) const override { *y = scale_ * f_(z, L); }
  void lanes(const Runs* z, Runs* y, int) const override { *y = scale_ * f_(z, L); }

 private:
  F f_;
  double scale_;
};

// a sum_l z_l, or b sum_l h2(z_l): the other factor is 0
class SumsLink final : public Link {
 public:
  SumsLink(int L, double a, double b) : Link(L, 1, {a, b * sqrt_half}), a_(a), b_(b) {}
  void operator()(const double* z, double* y) const override { *y = value(z); }
  void lanes(const Runs* z, Runs* y, int) const override { *y = value(z); }

 private:
  template <class V>
  V value(const V* z) const {
    if (b_ == 0) {
      V s = z[0];
      for (int l = 1; l < L; ++l) s += z[l];
      return a_ * s;
    }
    V s = h2(z[0]);
    for (int l = 1; l < L; ++l) s += h2(z[l]);
    return b_ * s;
  }
  double a_, b_;
};

struct NamedLink {
  std::string name;
  int least_L;
  LinkPtr (*make)(int L, double scale);
};

namespace detail {
template <class F>
LinkPtr scalar_link(F f, int L, double scale) {
  return std::make_shared<MadeLink<F>>(std::move(f), L, scale);
}
}  // namespace detail

inline const std::vector<NamedLink>& link_table() {
  using detail::scalar_link;
  static const std::vector<NamedLink> table = {
      {"z1", 1,
       [](int L, double c) { return scalar_link([](auto* z, int) { return z[0]; }, L, c); }},
      {"z1+z2", 2,
       [](int L, double c) { return scalar_link([](auto* z, int) { return z[0] + z[1]; }, L, c); }},
      {"z1-z2", 2,
       [](int L, double c) { return scalar_link([](auto* z, int) { return z[0] - z[1]; }, L, c); }},
      {"z1*z2", 2,
       [](int L, double c) { return scalar_link([](auto* z, int) { return z[0] * z[1]; }, L, c); }},
      {"z1*z2*z3", 3,
       [](int L, double c) {
         return scalar_link([](auto* z, int) { return z[0] * z[1] * z[2]; }, L, c);
       }},
      {"sum", 1, [](int L, double c) -> LinkPtr { return std::make_shared<SumsLink>(L, c, 0.0); }},
      {"sum_h2", 1,
       [](int L, double c) -> LinkPtr { return std::make_shared<SumsLink>(L, 0.0, c); }},
      {"h2_difference", 2,
       [](int L, double c) {
         return scalar_link([](auto* z, int) { return h2(z[0]) - h2(z[1]); }, L, c);
       }},
      {"staircase2", 2,
       [](int L, double c) {
         return scalar_link([](auto* z, int) { return z[0] * (1.0 + z[1]); }, L, c);
       }},
      {"staircase3", 3,
       [](int L, double c) {
         return scalar_link([](auto* z, int) { return z[0] * (1.0 + z[1] * (1.0 + z[2])); }, L, c);
       }},
      {"staircase", 1,
       [](int L, double c) {
         return scalar_link(
             [](auto* z, int n) {
               auto p = z[0];
               for (int l = 1; l < n; ++l) p *= 1.0 + z[l];
               return p;
             },
             L, c);
       }},
  };
  return table;
}

inline LinkPtr link_named(const std::string& name, int L, double scale) {
  checks::finite("scale", scale);
  std::string known;
  for (const NamedLink& e : link_table()) {
    if (e.name == name) {
      if (L < e.least_L)
        throw std::invalid_argument("L: link " + name + " needs at least " +
                                    std::to_string(e.least_L) + " tokens, got " +
                                    std::to_string(L));
      return e.make(L, scale);
    }
    known += (known.empty() ? "" : ", ") + e.name;
  }
  throw std::invalid_argument("link: expected one of " + known + ", got '" + name + "'");
}

// scale * sum_t coefficient_t prod_i He_{degree_ti}(z_{token_ti})
class HermiteLink final : public Link {
 public:
  struct Factor {
    int token, degree;
  };
  struct Term {
    double coefficient;
    std::vector<Factor> factors;
  };
  HermiteLink(int L, double scale, std::vector<Term> terms)
      : Link(L, 1), scale_(scale), terms_(std::move(terms)) {
    checks::finite("scale", scale);
    if (terms_.empty()) throw std::invalid_argument("terms: expected at least one, got none");
    for (const Term& t : terms_) {
      checks::finite("coefficient", t.coefficient);
      for (const Factor& f : t.factors) {
        checks::within("token", f.token, 0, L - 1);
        checks::within("degree", f.degree, 0, 30);
      }
    }
  }
  void operator()(const double* z, double* y) const override { *y = value(z); }
  void lanes(const Runs* z, Runs* y, int) const override { *y = value(z); }

 private:
  template <class V>
  V value(const V* z) const {
    V s{};
    for (const Term& t : terms_) {
      V p = V{} + t.coefficient;
      for (const Factor& f : t.factors) p *= hermite(f.degree, z[f.token]);
      s += p;
    }
    return scale_ * s;
  }
  double scale_;
  std::vector<Term> terms_;
};

// A C function from outside: void(z*, L, y, k), or with a fifth void* when `data` is given.
class PointerLink final : public Link {
 public:
  using Plain = void (*)(const double*, std::int64_t, double*, std::int64_t);
  using WithData = void (*)(const double*, std::int64_t, double*, std::int64_t, void*);
  PointerLink(int L, int k, void* f, void* data)
      : Link(L, k), f_(checks::given("function", f)), data_(data) {}
  void operator()(const double* z, double* y) const override {
    if (data_)
      reinterpret_cast<WithData>(f_)(z, L, y, k, data_);
    else
      reinterpret_cast<Plain>(f_)(z, L, y, k);
  }

 private:
  void *f_, *data_;
};

// R(softmax(t t^T)) with t_l = weights_l z*_l + offset_l: an attention layer as teacher, the
// positional part (if any) inside the softmax.
class AttentionLink final : public Link {
 public:
  AttentionLink(Reduction r, std::vector<double> a, std::vector<double> b,
                std::vector<double> weights, std::vector<double> offset)
      : Link(length(weights), r == Reduction::none ? matrix_size(Index(weights.size())) : 1),
        r_(r),
        a_(std::move(a)),
        b_(std::move(b)),
        weights_(std::move(weights)),
        offset_(std::move(offset)) {
    if (offset_.size() != weights_.size())
      checks::refuse("offset", "as many entries as weights, " + std::to_string(L), offset_.size());
    checks::finite("weights", weights_);
    checks::finite("offset", offset_);
    if (r == Reduction::bilinear) check_bilinear(L, a_, b_);
  }
  void operator()(const double* z, double* y) const override {
    thread_local std::vector<double> scratch;  // grows once per thread
    if (scratch.size() < 3 * std::size_t(L)) scratch.resize(3 * std::size_t(L));
    double *t = scratch.data(), *g = t + L, *e = g + L;
    for (int l = 0; l < L; ++l) t[l] = weights_[l] * z[l] + offset_[l];
    if (r_ == Reduction::none) softmax_matrix(t, L, y);
    if (r_ == Reduction::trace) *y = softmax_trace(t, L, g, e);
    if (r_ == Reduction::bilinear) *y = softmax_bilinear(t, L, a_.data(), b_.data(), g, e);
  }
  void lanes(const Runs* z, Runs* y, int count) const override {
    if (L > few_tokens) return Link::lanes(z, y, count);
    Runs t[few_tokens], g[few_tokens], e[few_tokens];
    for (int l = 0; l < L; ++l) t[l] = weights_[std::size_t(l)] * z[l] + offset_[std::size_t(l)];
    if (r_ == Reduction::none) in_lanes::softmax_matrix(t, L, y);
    if (r_ == Reduction::trace) *y = in_lanes::softmax_trace(t, L, g, e);
    if (r_ == Reduction::bilinear)
      *y = in_lanes::softmax_bilinear(t, L, a_.data(), b_.data(), g, e);
  }

 private:
  static int length(const std::vector<double>& weights) {
    checks::within("weights: number of entries", Index(weights.size()), 1,
                   std::numeric_limits<int>::max());
    return int(weights.size());
  }
  Reduction r_;
  std::vector<double> a_, b_, weights_, offset_;
};

// (1 - omega) softmax(z* z*^T) + omega A, A row-stochastic.
class PositionalSemanticLink final : public Link {
 public:
  PositionalSemanticLink(double omega, int L, std::vector<double> A)
      : Link(L, matrix_size(L)), omega_(omega), A_(std::move(A)) {
    if (!(omega >= 0 && omega <= 1)) checks::refuse("omega", "a number in [0, 1]", omega);
    if (A_.size() != std::size_t(k))
      checks::refuse("A", "L x L = " + std::to_string(k) + " entries", A_.size());
    checks::finite("A", A_);
    for (int l = 0; l < L; ++l) {
      double sum = 0;
      for (int j = 0; j < L; ++j) {
        const double x = A_[std::size_t(l) * L + j];
        if (x < 0) checks::refuse("A", "rows that are >= 0", x);
        sum += x;
      }
      if (std::fabs(sum - 1) > 1e-9) checks::refuse("A", "rows that sum to 1", sum);
    }
  }
  template <class Length>
  static void mix(Length n, double omega, const double* A, double* __restrict y) {
    for (int i = 0; i < n; ++i) y[i] = (1 - omega) * y[i] + omega * A[i];
  }
  void operator()(const double* z, double* y) const override {
    softmax_matrix(z, L, y);
    with_length(k, [&](auto n) { mix(n, omega_, A_.data(), y); });
  }
  void lanes(const Runs* z, Runs* y, int count) const override {
    if (L > few_tokens) return Link::lanes(z, y, count);
    in_lanes::softmax_matrix(z, L, y);
    for (int i = 0; i < k; ++i) y[i] = (1 - omega_) * y[i] + omega_ * A_[std::size_t(i)];
  }

 private:
  double omega_;
  std::vector<double> A_;
};

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
