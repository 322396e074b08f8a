#include <vector>

#include "check.hpp"
#include "seqsgd/model/task.hpp"
#include "seqsgd/random/normal.hpp"

using namespace seqsgd;

static void exponential() {
  double worst = 0;
  for (int i = 0; i <= 200000; ++i) {
    const double x = -700 + 1400.0 * i / 200000;
    worst = std::max(worst, std::fabs(double(seqsgd::exp(x) / std::exp(x) - 1)));
  }
  CHECK(worst < 4e-16);
  CHECK(std::isfinite(seqsgd::exp(1e6)) && seqsgd::exp(-1e6) < 1e-307);
  const simd::f64 v = seqsgd::exp(simd::f64{} + 1.5);
  CHECK(v[0] == seqsgd::exp(1.5));
}

// delta against central differences of the loss, for every loss and reduction.
static void gradients() {
  for (int L : {2, 3, 9}) {
    std::vector<double> z, zstar, a, b;
    for (int l = 0; l < L; ++l) {
      z.push_back(std::sin(1.7 * l + 0.3));
      zstar.push_back(std::cos(2.3 * l));
      a.push_back(0.5 + 0.1 * l);
      b.push_back(1.0 - 0.2 * l);
    }
    const std::vector<double> ones(std::size_t(L), 1.0), zeros(std::size_t(L), 0.0);
    for (const Loss& loss : Loss::all())
      for (Reduction r : {Reduction::none, Reduction::trace, Reduction::bilinear}) {
        const Task t(std::make_shared<AttentionLink>(r, a, b, ones, zeros),
                     std::make_shared<Attention>(L, r, a, b), loss.name(), 0);
        std::vector<double> ws(t.scratch()), delta(z.size()), dump(z.size());
        t.evaluate(zstar.data(), z.data(), nullptr, delta.data(), ws.data());
        for (int l = 0; l < L; ++l) {
          const double h = 1e-6, keep = z[std::size_t(l)];
          z[std::size_t(l)] = keep + h;
          const double up = t.evaluate(zstar.data(), z.data(), nullptr, dump.data(), ws.data());
          z[std::size_t(l)] = keep - h;
          const double down = t.evaluate(zstar.data(), z.data(), nullptr, dump.data(), ws.data());
          z[std::size_t(l)] = keep;
          CHECK_NEAR(delta[std::size_t(l)], (up - down) / (2 * h), 1e-7);
        }
      }
  }
}

// Long sequences go through a series; it must agree with the row-by-row sums to rounding.
static void series_agrees_with_rows() {
  Xoshiro16 g(Address{11});
  for (int L : {48, 64, 100, 257, 1024})
    for (double scale : {0.01, 0.5, 1.0}) {
      double worst = 0;
      for (int trial = 0; trial < 20; ++trial) {
        std::vector<double> z(std::size_t(padded(L))), a(z.size()), b(z.size()), e(z.size());
        fill_normal(g, z.data(), padded(L));
        for (double& x : z)
          x = std::fabs(scale * x) < 4.19 ? scale * x + (trial % 2 ? 0.3 * (scale < 1) : 0.0)
                                          : 4.19;
        double s = 0;
        CHECK(ExponentialSums::serves(z.data(), L, s));
        worst = std::max(worst, std::fabs(softmax_trace(z.data(), L, a.data(), e.data()) /
                                              softmax_trace(z.data(), L, b.data(), e.data(), true) -
                                          1));
        for (int l = 0; l < L; ++l)
          worst = std::max(worst, std::fabs(a[std::size_t(l)] - b[std::size_t(l)]));
      }
      CHECK(worst < 3e-14);
    }
}

// A function of the fields at the fields, and as data.
static double value(const Polynomial& p, const double* z) {
  const auto of_token = [z](int token, const Polynomial::Series& c) {
    double sum = 0;
    for (std::size_t k = 0; k < c.size(); ++k) sum += c[k] * hermite(int(k), z[token]);
    return sum;
  };
  double y = 0;
  for (const auto& [coefficient, factors] : p.terms()) {
    double part = coefficient;
    for (const auto& [token, c] : factors) part *= of_token(token, c);
    y += part;
  }
  return y;
}

static void polynomials_are_numbers() {
  const auto check = [](auto f, std::size_t terms) {
    const Polynomial fields[] = {Polynomial::field(0), Polynomial::field(1), Polynomial::field(2)};
    const Polynomial p = f(fields);
    CHECK(p.terms().size() == terms);
    for (int i = 0; i < 20; ++i) {
      const double z[] = {std::sin(i + 0.5), 1.5 * std::cos(2.0 * i), std::sin(3.0 * i) - 0.4};
      CHECK_NEAR(value(p, z), f(z), 1e-12);
    }
  };
  check([](auto* z) { return (1.0 + z[0]) * (z[0] - 2.0) * z[0]; }, 1);
  check([](auto* z) { return (1.0 + z[0]) * (z[1] - 2.0) * z[0] * z[2]; }, 1);
  check([](auto* z) { return (z[0] + z[1]) * (z[0] - z[1]) * 0.5; }, 4);
  check([](auto* z) { return (z[0] + z[1]) * (z[1] + z[2]) - z[0] * z[1] * z[2]; }, 6);
  check([](auto* z) { return h2(z[0]) * hermite(5, z[0]) + 3.0 * (z[2] - z[2]); }, 1);
  check(
      [](auto* z) {
        auto p = z[0];
        for (int l : {1, 2, 1, 0}) p *= z[l] + 1.5;
        return p;
      },
      1);
}

static void wrong_parts_are_refused() {
  CHECK(check::throws([] { link_named("nothing", 2, 1); }));
  CHECK(check::throws([] { link_named("z1*z2", 1, 1); }));
  CHECK(check::throws([] { activation_named("He31"); }));
  CHECK(check::throws([] {
    Task(link_named("sum", 2, 1), std::make_shared<Network>(activation_named("relu"), 3), "square",
         0);
  }));
  CHECK(check::throws([] {
    Task(link_named("sum", 2, 1), std::make_shared<Network>(activation_named("relu"), 2), "square",
         -1);
  }));
}

int main() {
  exponential();
  gradients();
  series_agrees_with_rows();
  polynomials_are_numbers();
  wrong_parts_are_refused();
  return check::report();
}
