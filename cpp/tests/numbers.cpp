// Prints what one seed gives, for comparison between machines (.ci/cross.py): words of the
// generator, which are the same bits on all of them, and normals and overlaps, which are so to
// rounding.
#include <cinttypes>
#include <cstdio>
#include <string>
#include <vector>

#include "seqsgd/seqsgd.hpp"

using namespace seqsgd;

static void show(const char* kind, const std::string& name, const std::vector<double>& x) {
  std::printf("%s %s", kind, name.c_str());
  for (double v : x) std::printf(" %.17g", v);
  std::printf("\n");
}

static void words() {
  Xoshiro16 g(Address{42, Stream::data, 7, (std::uint64_t(1) << 40) + 3});
  std::printf("exact words");
  for (int i = 0; i < 2; ++i)
    for (int k = 0; k < Xoshiro16::groups; ++k) {
      const simd::u32 r = g.next(k);
      for (int j = 0; j < simd::width<std::uint32_t>; ++j)
        std::printf(" %" PRIu32, std::uint32_t(r[j]));
    }
  std::printf("\n");
}

template <class T>
static void normals(const char* kind) {
  Xoshiro16 g(Address{42, Stream::data, 7, 3});
  std::vector<T> x(std::size_t(8 * draw_size));
  fill_normal(g, x.data(), Index(x.size()));
  show(kind, "normals", std::vector<double>(x.begin(), x.end()));
}

struct Case {
  std::string name;
  std::shared_ptr<Task> task;
  Settings s;
};

static std::vector<Case> cases() {
  std::vector<Case> out;
  const auto add = [&](const char* name, std::shared_ptr<Task> task, auto change) {
    Case c{name, std::move(task), {}};
    c.s.d = 100;
    c.s.seed = 5;
    c.s.init.m0 = 0.2;
    c.s.lr.values = {0.05};
    change(c.s);
    out.push_back(std::move(c));
  };
  const auto network = [](const char* link, const char* sigma, int L, double noise = 0) {
    return std::make_shared<Task>(link_named(link, L, 1),
                                  std::make_shared<Network>(activation_named(sigma), L),
                                  "half_square", noise);
  };
  const std::vector<double> one(9, 1.0), zero(9, 0.0);
  add("tied_relu", network("sum", "relu", 3), [](auto&) {});
  add("tied_tanh_noisy", network("sum_h2", "tanh", 5, 0.1), [](auto&) {});
  add("untied_erf", network("staircase", "erf", 3),
      [](auto& s) { s.fields = FieldMap::per_token(3); });
  add("attention_opposite",
      std::make_shared<Task>(
          std::make_shared<AttentionLink>(Reduction::none, std::vector<double>(2, 1.0),
                                          std::vector<double>(2, 1.0), std::vector<double>(2, 1.0),
                                          std::vector<double>(2, 0.0)),
          std::make_shared<Attention>(2, Reduction::none, one, one), "frobenius", 0),
      [](auto& s) { s.position = PositionKind::opposite; });
  add("attention_trace_injected",
      std::make_shared<Task>(std::make_shared<AttentionLink>(Reduction::trace, one, one, one, zero),
                             std::make_shared<Attention>(9, Reduction::trace, one, one),
                             "frobenius", 0),
      [](auto& s) {
        s.position = PositionKind::injected;
        s.c.assign(9, 0.5);
      });
  return out;
}

template <class Simulation>
static void overlaps(const char* kind, const std::string& name, Simulation& sim) {
  sim.advance(300, nullptr);
  std::vector<double> x;
  for (Index r = 0; r < sim.size(); ++r) {
    const OrderParameters o = sim.order_parameters(r);
    x.insert(x.end(), o.m.begin(), o.m.end());
    x.insert(x.end(), o.e.begin(), o.e.end());
  }
  show(kind, name, x);
}

int main() {
  words();
  normals<float>("single");
  normals<double>("double");
  for (const Case& c : cases()) {
    SampledSimulation<float> single(c.task, c.s, 2, 0, 1);
    SampledSimulation<double> full(c.task, c.s, 2, 0, 1);
    overlaps("single", "sampled_" + c.name, single);
    overlaps("double", "sampled_" + c.name, full);
    ReducedSimulation<float> reduced(c.task, c.s, 17, 0, 1);
    ReducedSimulation<double> reduced_full(c.task, c.s, 17, 0, 1);
    overlaps("single", "reduced_" + c.name, reduced);
    overlaps("double", "reduced_" + c.name, reduced_full);
  }
}
