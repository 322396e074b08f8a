// Link functions g: R^L -> R^k, the teachers of the sequence single-index model.
#pragma once

#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "seqsgd/model/attention.hpp"
#include "seqsgd/model/lane_by_lane.hpp"
#include "seqsgd/model/polynomial.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

class Link {
 public:
  Link(int L, int k) : L(L), k(k) {
    checks::within("L", L, 1, std::numeric_limits<int>::max());
    checks::within("k", k, 1, std::numeric_limits<int>::max());
  }
  virtual ~Link() = default;
  // y (k) at the fields z* (L).
  virtual void operator()(const double* zstar, double* y) const = 0;
  // The same for a pack of runs, of which the first `count` matter: lane by lane, unless the link
  // is written over its number type (LinkOver).
  virtual void operator()(const Pack* zstar, Pack* y, int count) const {
    lane_by_lane(
        zstar, L, std::size_t(k), count, [this](const double* x, double* out) { (*this)(x, out); },
        [&](int lane, const double* out) {
          for (int j = 0; j < k; ++j) y[j][lane] = out[j];
        });
  }
  virtual bool calls_python() const { return false; }  // at every evaluation
  // The link as data, a sum of products, if it is a polynomial.
  virtual std::optional<std::vector<Polynomial::Product>> terms() const { return std::nullopt; }

  const int L, k;
};
using LinkPtr = std::shared_ptr<const Link>;

// A link of the class Self, written once as `template <class V> void evaluate(const V* zstar, V* y)
// const` for V = double and for packs.
template <class Self>
class LinkOver : public Link {
 public:
  using Link::Link;
  void operator()(const double* zstar, double* y) const final { self().evaluate(zstar, y); }
  void operator()(const Pack* zstar, Pack* y, int count) const final {
    if (self().in_packs())
      self().evaluate(zstar, y);
    else
      Link::operator()(zstar, y, count);
  }
  bool in_packs() const { return true; }  // faster so than lane by lane

 protected:
  const Self& self() const { return static_cast<const Self&>(*this); }
};

// A polynomial: a link whose `evaluate` takes V = Polynomial too.
template <class Self>
class PolynomialOver : public LinkOver<Self> {
 public:
  using LinkOver<Self>::LinkOver;
  std::optional<std::vector<Polynomial::Product>> terms() const override {
    std::vector<Polynomial> fields;
    for (int l = 0; l < this->L; ++l) fields.push_back(Polynomial::field(l));
    Polynomial y;
    this->self().evaluate(fields.data(), &y);
    return y.terms();
  }
};

// scale * f(z, L), f a functor V(const V* z, int L) of +, - and *.
template <class F>
class PolynomialLink final : public PolynomialOver<PolynomialLink<F>> {
 public:
  PolynomialLink(F f, int L, double scale)
      : PolynomialOver<PolynomialLink<F>>(L, 1), f_(std::move(f)), scale_(scale) {}
  template <class V>
  void evaluate(const V* z, V* y) const {
    *y = scale_ * f_(z, this->L);
  }

 private:
  F f_;
  double scale_;
};

// a sum_l z_l, or b sum_l h2(z_l): the other factor is 0. Kernels know this class (sums.hpp). A
// link that only happens to be such a sum keeps the draws with which its runs were published.
class SumLink final : public PolynomialOver<SumLink> {
 public:
  SumLink(int L, double a, double b) : PolynomialOver<SumLink>(L, 1), a_(a), b_(b) {}
  // g = first sum_l z_l + second sum_l (z_l^2 - 1)
  double first() const { return a_; }
  double second() const { return b_ * sqrt_half; }
  template <class V>
  void evaluate(const V* z, V* y) const {
    if (b_ == 0) {
      V s = z[0];
      for (int l = 1; l < L; ++l) s += z[l];
      *y = a_ * s;
    } else {
      V s = h2(z[0]);
      for (int l = 1; l < L; ++l) s += h2(z[l]);
      *y = b_ * s;
    }
  }

 private:
  double a_, b_;
};

struct NamedLink {
  std::string name;
  int least_L;
  std::function<LinkPtr(int L, double scale)> make;
};

namespace detail {
template <class F>
NamedLink named_link(const char* name, int least_L, F f) {
  return {name, least_L,
          [f](int L, double scale) { return std::make_shared<PolynomialLink<F>>(f, L, scale); }};
}
}  // namespace detail

// To add a named link: one entry here. The theory reads its polynomial from the functor.
inline const std::vector<NamedLink>& link_table() {
  using detail::named_link;
  static const std::vector<NamedLink> table = {
      named_link("z1", 1, [](auto* z, int) { return z[0]; }),
      named_link("z1+z2", 2, [](auto* z, int) { return z[0] + z[1]; }),
      named_link("z1-z2", 2, [](auto* z, int) { return z[0] - z[1]; }),
      named_link("z1*z2", 2, [](auto* z, int) { return z[0] * z[1]; }),
      named_link("z1*z2*z3", 3, [](auto* z, int) { return z[0] * z[1] * z[2]; }),
      {"sum", 1, [](int L, double c) { return std::make_shared<SumLink>(L, c, 0.0); }},
      {"sum_h2", 1, [](int L, double c) { return std::make_shared<SumLink>(L, 0.0, c); }},
      named_link("h2_difference", 2, [](auto* z, int) { return h2(z[0]) - h2(z[1]); }),
      named_link("staircase2", 2, [](auto* z, int) { return z[0] * (1.0 + z[1]); }),
      named_link("staircase3", 3, [](auto* z, int) { return z[0] * (1.0 + z[1] * (1.0 + z[2])); }),
      named_link("staircase", 1,
                 [](auto* z, int L) {
                   auto p = z[0];
                   for (int l = 1; l < L; ++l) p *= 1.0 + z[l];
                   return p;
                 }),
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
class HermiteLink final : public LinkOver<HermiteLink> {
 public:
  struct Factor {
    int token, degree;
  };
  struct Term {
    double coefficient;
    std::vector<Factor> factors;
  };
  HermiteLink(int L, double scale, std::vector<Term> terms)
      : LinkOver<HermiteLink>(L, 1), scale_(scale), terms_(std::move(terms)) {
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
  template <class V>
  void evaluate(const V* z, V* y) const {
    V s{};
    for (const Term& t : terms_) {
      V p = V{} + t.coefficient;
      for (const Factor& f : t.factors) p *= hermite(f.degree, z[f.token]);
      s += p;
    }
    *y = scale_ * s;
  }
  // As they were given: what cancels among them does so to their rounding only, which the theory
  // has to see.
  std::optional<std::vector<Polynomial::Product>> terms() const override {
    std::vector<Polynomial::Product> out;
    for (const Term& t : terms_) {
      Polynomial::Product p{scale_ * t.coefficient, {}};
      for (const Factor& f : t.factors) {
        Polynomial::Series he(std::size_t(f.degree) + 1, 0.0);
        he.back() = 1;
        p = p * Polynomial::Product{1, {{f.token, he}}};
      }
      out.push_back(std::move(p));
    }
    return out;
  }

 private:
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
  using Link::operator();
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
class AttentionLink final : public LinkOver<AttentionLink> {
 public:
  AttentionLink(Reduction r, std::vector<double> a, std::vector<double> b,
                std::vector<double> weights, std::vector<double> offset)
      : LinkOver<AttentionLink>(length(weights),
                                ReducedAttention::outputs(Index(weights.size()), r)),
        weights_(std::move(weights)),
        offset_(checked(std::move(offset))),
        attention_(L, r, std::move(a), std::move(b)) {}
  bool in_packs() const { return L <= few_tokens; }
  template <class V>
  void evaluate(const V* z, V* y) const {
    if (L <= few_tokens) {
      V t[few_tokens], gradient[few_tokens], e[few_tokens];
      evaluate(z, y, t, gradient, e);
    } else if constexpr (std::is_same_v<V, double>) {
      thread_local std::vector<double> scratch;  // grows once per thread
      if (scratch.size() < 3 * std::size_t(L)) scratch.resize(3 * std::size_t(L));
      double* t = scratch.data();
      evaluate(z, y, t, t + L, t + 2 * L);
    }
  }

 private:
  template <class V>
  SEQSGD_INLINE void evaluate(const V* z, V* y, V* t, V* gradient, V* e) const {
    for (int l = 0; l < L; ++l) t[l] = weights_[std::size_t(l)] * z[l] + offset_[std::size_t(l)];
    attention_.forward(t, y, gradient, e);
  }
  static int length(const std::vector<double>& weights) {
    checks::within("weights: number of entries", Index(weights.size()), 1,
                   std::numeric_limits<int>::max());
    return int(weights.size());
  }
  std::vector<double> checked(std::vector<double> offset) const {
    if (offset.size() != weights_.size())
      checks::refuse("offset", "as many entries as weights, " + std::to_string(L), offset.size());
    checks::finite("weights", weights_);
    checks::finite("offset", offset);
    return offset;
  }
  std::vector<double> weights_, offset_;
  ReducedAttention attention_;
};

// (1 - omega) softmax(z* z*^T) + omega A, A row-stochastic.
class PositionalSemanticLink final : public LinkOver<PositionalSemanticLink> {
 public:
  PositionalSemanticLink(double omega, int L, std::vector<double> A)
      : LinkOver<PositionalSemanticLink>(L, matrix_size(L)), omega_(omega), A_(std::move(A)) {
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
  bool in_packs() const { return L <= few_tokens; }
  template <class V>
  void evaluate(const V* z, V* y) const {
    softmax_matrix(z, L, y);
    with_length(k, [&](auto n) { mix(n, omega_, A_.data(), y); });
  }

 private:
  template <class Length, class V>
  static void mix(Length n, double omega, const double* A, V* __restrict y) {
    for (int i = 0; i < n; ++i) y[i] = (1 - omega) * y[i] + omega * A[i];
  }
  double omega_;
  std::vector<double> A_;
};

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
