#include <cstdlib>
#include <new>
#include <vector>

#include "check.hpp"
#include "seqsgd/seqsgd.hpp"

// Every allocation of this program is counted.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"
#endif
static std::atomic<long> allocations{0};
void* operator new(std::size_t n) {
  ++allocations;
  if (void* p = std::malloc(n)) return p;
  throw std::bad_alloc();
}
void* operator new(std::size_t n, const std::nothrow_t&) noexcept {
  return ++allocations, std::malloc(n);
}  // of stable_sort
void operator delete(void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }

using namespace seqsgd;

struct Case {
  std::shared_ptr<Task> task;
  Settings s;
  bool needs_row_overlaps = false;
};

static std::vector<Case> cases(Index d) {
  std::vector<Case> out;
  const auto add = [&](std::shared_ptr<Task> task, auto change) {
    Case c{std::move(task), {}};
    c.s.d = d;
    c.s.seed = 5;
    c.s.init.m0 = 0.2;
    c.s.lr.values = {0.05};
    c.s.plan.record = {0, 100, 1000};
    c.s.plan.eta = 1;  // looked for to the end
    c.s.plan.halt = false;
    change(c.s);
    c.needs_row_overlaps = c.s.tokens.law == TokenLaw::correlated && !c.s.fields.one_weight();
    out.push_back(std::move(c));
  };
  const auto network = [](const char* link, const char* sigma, int L, double noise = 0) {
    return std::make_shared<Task>(link_named(link, L, 1),
                                  std::make_shared<Network>(activation_named(sigma), L),
                                  "half_square", noise);
  };
  const auto attention = [](Reduction r, int L) {
    const std::vector<double> one(std::size_t(L), 1.0), zero(std::size_t(L), 0.0);
    return std::make_shared<Task>(std::make_shared<AttentionLink>(r, one, one, one, zero),
                                  std::make_shared<Attention>(L, r, one, one), "frobenius", 0);
  };
  const auto matrix = [d](int L) {
    return [d, L](auto& s) {
      s.position = PositionKind::matrix;
      s.P = Matrix::Constant(L, d, 0.1);
      s.P(1, 0) = 1;
    };
  };
  add(network("sum", "relu", 3), [](auto&) {});
  add(network("sum_h2", "tanh", 5, 0.1), [](auto&) {});
  add(network("staircase", "relu", 3), [](auto&) {});
  add(network("sum", "relu", 3), [](auto& s) { s.fields = FieldMap::per_token(3); });
  add(network("sum", "relu", 2), [&](auto& s) {
    matrix(2)(s);
    s.fields = FieldMap::per_token(2);
  });
  add(network("sum", "erf", 3), [](auto& s) {
    s.fields = FieldMap::per_token(3), s.spheres = Spheres::one(3);
    s.projected = true;
  });
  for (double lr : {0.1, 2.0, 50.0})  // steps short and long side by side
    add(network("sum", "tanh", 3), [lr](auto& s) {
      s.fields = FieldMap::per_token(3);
      s.projected = true;
      s.lr.values = {lr * double(s.d)};
    });
  add(network("sum_h2", "relu", 19), [](auto& s) { s.fields = FieldMap::per_token(19); });
  add(network("sum_h2", "relu", 70), [](auto& s) {
    s.fields = FieldMap::per_token(70), s.spheres = Spheres::one(70);
  });  // so many rows that fewer runs go side by side
  add(network("sum_h2", "tanh", 8), [](auto&) {});
  add(network("staircase", "tanh", 3, 0.1),
      [](auto& s) { s.fields = FieldMap::per_token(3), s.spheres = Spheres::one(3); });
  add(attention(Reduction::none, 2), [](auto& s) { s.position = PositionKind::opposite; });
  add(attention(Reduction::trace, 9), [](auto& s) {
    s.position = PositionKind::injected;
    s.c.assign(9, 0.5);
  });
  add(attention(Reduction::bilinear, 3), matrix(3));
  for (int untied : {0, 1, 2})
    add(network("sum", "relu", 2), [untied](auto& s) {
      if (untied) s.fields = FieldMap::per_token(2);
      if (untied == 2) s.spheres = Spheres::one(2);
      s.tokens.law = TokenLaw::correlated;
      s.tokens.factor = semidefinite_factor({1, 0.5, 0.5, 1}, 2);
    });
  return out;
}

template <class T>
static std::vector<double> final_states(const Case& c, Index runs, int threads, Index piece,
                                        Index first = 0) {
  ReducedSimulation<T> sim(c.task, c.s, runs, first, threads);
  for (Index at = 0; at < 1000;) sim.advance(at = std::min<Index>(1000, at + piece), nullptr);
  std::vector<double> out(std::size_t(runs * sim.state_size()));
  for (Index r = 0; r < runs; ++r) sim.save(r, out.data() + r * sim.state_size());
  // Increments in single precision leave the sphere by 1e-7 of their own size, until they are
  // flushed.
  const double tolerance =
      sizeof(T) == 4 && c.task->sums().student_of_sum && c.s.tokens.law == TokenLaw::gaussian
          ? 1e-6
          : 1e-12;
  for (Index r = 0; r < runs; ++r) {
    double q = 0;
    const OrderParameters o = sim.order_parameters(r);
    for (double x : o.q) q += x / double(o.q.size());
    CHECK_NEAR(q, 1, tolerance);
    CHECK(sim.progress(r).step == 1000);
  }
  return out;
}

template <class T>
static void pieces_and_threads_do_not_matter() {
  for (Index d : {4, 33, 100, 1000000})
    for (const Case& c : cases(d)) {
      if (d > 100 && c.s.position == PositionKind::matrix) continue;
      const Index runs =
          d == 100 ? 70 : 21;  // once so many that packs are taken four, two and one at a time
      const auto whole = final_states<T>(c, runs, 1, 1000);
      CHECK(final_states<T>(c, runs, 2, 1000) == whole);
      CHECK(final_states<T>(c, runs, 3, 331) == whole);
      const Index size = Index(whole.size()) / runs;
      for (Index run : {Index(3), runs - 1})
        CHECK(final_states<T>(c, 1, 1, 1000, run) ==
              std::vector<double>(whole.begin() + run * size, whole.begin() + (run + 1) * size));
    }
}

static void restored_runs_go_on_bit_for_bit() {
  for (const Case& c : cases(33)) {
    ReducedSimulation<float> a(c.task, c.s, 1, 4, 1), b(c.task, c.s, 1, 4, 1);
    a.advance(517, nullptr);
    std::vector<double> state(std::size_t(a.state_size()));
    a.save(0, state.data());
    b.check_state(state.data());
    b.restore(0, state.data());
    a.advance(1000, nullptr);
    b.advance(1000, nullptr);
    CHECK(a.order_parameters(0).m == b.order_parameters(0).m);
    CHECK(a.progress(0).loss_sum == b.progress(0).loss_sum);
  }
}

// Quantiles at those of the normal, by mpmath's incomplete gamma functions to 40 digits.
static void normals_become_chi_squares() {
  const struct {
    Index dof;
    double z, x;
  } known[] = {{72, -8.5, 11.1778324307537571}, {72, -6, 21.4141213418292198},
               {72, 0, 71.3344418822824258},    {72, 6, 168.691067155571032},
               {72, 8.5, 225.6683465300229},    {73, -3, 42.0074578466685188},
               {98, 2, 127.94955797526743},     {301, -5, 193.879025068208754},
               {998, -6, 752.819937742883078},  {998, 1, 1042.66172268562109},
               {998, 6, 1289.80593359352354},   {20000, -4, 19209.979785436371},
               {20000, 5, 21016.0495007602729}};
  for (const auto& at : known)
    for (bool single : {false, true}) {
      const double sd = std::sqrt(2.0 * double(at.dof)), rounding = double(at.dof) * 0x1p-51;
      if (single && std::fabs(at.z) > 6.77) continue;  // never drawn
      const NormalToChiSquare map(at.dof, single);
      const bool near = std::fabs(at.z) <= NormalToChiSquare::range(single);
      CHECK_NEAR(map(at.z), at.x,
                 rounding + sd * (near     ? NormalToChiSquare::error(single)
                                  : single ? 2e-4
                                           : 4e-8));
      if (single && near)
        CHECK_NEAR(double(map(float(at.z))), at.x,
                   double(at.dof) * 0x1p-22 + sd * NormalToChiSquare::error(true));
    }
  CHECK(NormalToChiSquare(1000000000, true).degree() == 4);
  CHECK(NormalToChiSquare(1000000000, false).degree() == 4);
}

static void the_hot_loop_allocates_nothing() {
  for (Case& c : cases(100)) {
    if (c.needs_row_overlaps) continue;  // one Householder reduction a step
    c.s.plan.record.clear();
    Records none(20, 0, c.s.fields.weights, c.task->L());
    ReducedShared setting(*c.task, c.s, true, none);
    setting.workspaces.push_back(
        std::make_unique<ReducedWorkspace>(*c.task, setting.coordinates, setting.layout));
    PackedRuns item(setting, 0, 0, 20);
    const std::atomic<bool> pause{false};
    item.advance(5000, 1600, 0, pause);  // packs its lanes
    const long before = allocations;
    while (!item.done(5000)) item.advance(5000, 5000, 0, pause);
    CHECK(allocations == before);
    CHECK(item.progress(19).step == 5000);
  }
}

static void other_tokens_and_wrong_settings_are_refused() {
  const auto refused = [](auto change) {
    Case c = cases(10)[0];
    change(c.s);
    return check::throws([&] { ReducedSimulation<float>(c.task, c.s, 1, 0, 1); });
  };
  CHECK(!refused([](auto&) {}));
  CHECK(refused([](auto& s) { s.d = 0; }));
  CHECK(refused([](auto& s) { s.init.m0 = 1.5; }));
  CHECK(refused([](auto& s) { s.tokens.law = TokenLaw::rademacher; }));
  CHECK(refused([](auto& s) { s.position = PositionKind::opposite; }));  // of three tokens
  CHECK(refused([](auto& s) { s.plan.record = {3, 3}; }));
}

int main() {
  pieces_and_threads_do_not_matter<float>();
  pieces_and_threads_do_not_matter<double>();
  restored_runs_go_on_bit_for_bit();
  normals_become_chi_squares();
  the_hot_loop_allocates_nothing();
  other_tokens_and_wrong_settings_are_refused();
  return check::report();
}
