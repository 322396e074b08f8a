#include <vector>

#include "check.hpp"
#include "seqsgd/random/token_laws.hpp"

using namespace seqsgd;

// Published known answers of Philox4x32-10 (Random123, kat_vectors).
static void philox_known_answers() {
  using C = std::array<std::uint32_t, 4>;
  CHECK((philox({0, 0, 0, 0}, {0, 0}) == C{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  CHECK((philox({~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}) ==
         C{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  CHECK((philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
         C{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

// xoshiro128++ by hand, one lane against the vector lanes.
static void lanes_follow_the_scalar_recurrence() {
  const Address at{42, Stream::data, 7, 3};
  Xoshiro16 g(at);
  for (int lane : {0, 5, 15}) {
    auto s = philox({std::uint32_t(lane), 3, 7, std::uint32_t(Stream::data) << 24}, {42, 0});
    Xoshiro16 h(at);
    const auto rot = [](std::uint32_t x, int k) { return (x << k) | (x >> (32 - k)); };
    for (int i = 0; i < 100; ++i) {
      const std::uint32_t want = rot(s[0] + s[3], 7) + s[0], t = s[1] << 9;
      s[2] ^= s[0];
      s[3] ^= s[1];
      s[1] ^= s[2];
      s[0] ^= s[3];
      s[2] ^= t;
      s[3] = rot(s[3], 11);
      constexpr int w = simd::width<std::uint32_t>;
      std::uint32_t got = 0;
      for (int k = 0; k < Xoshiro16::groups; ++k) {
        const simd::u32 r = h.next(k);
        if (k == lane / w) got = r[lane % w];
      }
      CHECK(got == want);
    }
  }
}

// Box-Muller's polynomials against the library's functions, at the ends and inside.
static void box_muller_is_accurate() {
  double worst = 0;
  for (std::uint32_t i = 0; i < 200000; ++i) {
    const std::uint32_t u = i < 1000   ? i
                            : i < 2000 ? ~(i - 1000)
                                       : i * 2654435761u,
                        v = i * 40503u * 65537u + 12345u;
    simd::f32 radius[1], g[1], h[1];
    const simd::u32 words[2][1] = {{simd::u32{} + u}, {simd::u32{} + v}};
    BoxMuller::radius(words[0], radius);
    BoxMuller::turn(radius, words[1], g, h);
    const double x = double(float(u >> 1) * 0x1p-31f + 0x1p-33f), r = std::sqrt(-2 * std::log(x)),
                 a = double(std::int32_t(v)) * 0x1p-31 * 1.57079632679489661923;
    const double s = r * std::sin(a), c = r * std::cos(a) * (v & 1 ? -1 : 1);
    worst = std::max({worst, std::fabs(g[0][0] - s), std::fabs(h[0][0] - c)});
  }
  CHECK(worst < 2e-6);
  worst = 0;
  std::uint64_t state = 1;
  for (int i = 0; i < 200000; ++i) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    const std::uint64_t u = i < 1000   ? std::uint64_t(i) << 12
                            : i < 2000 ? ~(std::uint64_t(i) << 12)
                                       : state,
                        v = state * 0x9E3779B97F4A7C15u;
    simd::f64 radius[1], g[1], h[1];
    const simd::u64 words[2][1] = {{simd::u64{} + u}, {simd::u64{} + v}};
    BoxMuller::radius(words[0], radius);
    BoxMuller::turn(radius, words[1], g, h);
    const long double x = (long double)(u >> 12) * 0x1p-52L + 0x1p-53L, r = sqrtl(-2 * logl(x)),
                      a = ((long double)(v >> 12) * 0x1p-51L - 1) * 1.570796326794896619231322L;
    const long double s = r * sinl(a), c = r * cosl(a) * (v & 1 ? -1 : 1);
    worst = std::max({worst, double(fabsl(g[0][0] - s)), double(fabsl(h[0][0] - c))});
  }
  CHECK(worst < 1e-14);
}

static void factor_of_a_covariance() {
  const std::vector<double> C = {1, 0.5, 1, 0.5, 1, 0.5, 1, 0.5, 1};  // rank 2
  const CovarianceFactor f = semidefinite_factor(C, 3);
  for (int i = 0; i < 3; ++i)
    for (int j = 0; j < 3; ++j) {
      double s = 0;
      for (int k = 0; k < 3; ++k) s += f.F[std::size_t(3 * i + k)] * f.F[std::size_t(3 * j + k)];
      CHECK_NEAR(s, C[std::size_t(3 * f.order[std::size_t(i)] + f.order[std::size_t(j)])], 1e-12);
    }
  std::vector<double> smooth;  // numerically singular, and yet a covariance
  for (int i = 0; i < 50; ++i)
    for (int j = 0; j < 50; ++j) smooth.push_back(std::exp(-std::pow((i - j) / 50.0, 2) / 0.18));
  const CovarianceFactor g = semidefinite_factor(smooth, 50);
  for (int i = 0; i < 50; ++i)
    for (int j = 0; j < 50; ++j) {
      double s = 0;
      for (int k = 0; k < 50; ++k) s += g.F[std::size_t(50 * i + k)] * g.F[std::size_t(50 * j + k)];
      CHECK_NEAR(s, smooth[std::size_t(50 * g.order[std::size_t(i)] + g.order[std::size_t(j)])],
                 1e-9);
    }
  CHECK(check::throws([] { semidefinite_factor({1, 2, 2, 1}, 2); }));
  CHECK(check::throws([] { semidefinite_factor({1, std::nan(""), 0, 1}, 2); }));
}

int main() {
  philox_known_answers();
  lanes_follow_the_scalar_recurrence();
  box_muller_is_accurate();
  factor_of_a_covariance();
  return check::report();
}
