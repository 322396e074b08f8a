#include <cfloat>
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
void* operator new(std::size_t n, const std::nothrow_t&) noexcept { return ++allocations, std::malloc(n); }  // of stable_sort
void operator delete(void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }

using namespace seqsgd;

struct Case {
  std::shared_ptr<Task> task;
  Settings s;
  bool rows_meet = false;
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
    c.s.plan.eta = 2;  // never, but looked for
    change(c.s);
    c.rows_meet = c.s.tokens.law == TokenLaw::correlated && c.s.weights != Weights::shared;
    out.push_back(std::move(c));
  };
  const auto network = [](const char* link, const char* sigma, int L, double noise = 0) {
    return std::make_shared<Task>(link_named(link, L, 1), std::make_shared<Network>(activation_named(sigma), L), "half_square", noise);
  };
  const auto attention = [](Reduction r, int L) {
    const std::vector<double> one(std::size_t(L), 1.0), zero(std::size_t(L), 0.0);
    return std::make_shared<Task>(std::make_shared<AttentionLink>(r, one, one, one, zero), std::make_shared<Attention>(L, r, one, one), "frobenius", 0);
  };
  const auto matrix = [d](int L) { return [d, L](auto& s) {
    s.position = PositionKind::matrix;
    s.P = Matrix::Constant(L, d, 0.1);
    s.P(1, 0) = 1;
  }; };
  add(network("sum", "relu", 3), [](auto&) {});
  add(network("sum_h2", "tanh", 5, 0.1), [](auto&) {});
  add(network("staircase", "relu", 3), [](auto&) {});
  add(network("sum", "relu", 3), [](auto& s) { s.weights = Weights::rows; });
  add(network("sum", "relu", 2), [&](auto& s) {
    matrix(2)(s);
    s.weights = Weights::rows;
  });
  add(network("sum", "erf", 3), [](auto& s) {
    s.weights = Weights::global;
    s.projected = true;
  });
  for (double lr : {0.1, 2.0, 50.0})  // steps short and long side by side
    add(network("sum", "tanh", 3), [lr](auto& s) {
      s.weights = Weights::rows;
      s.projected = true;
      s.lr.values = {lr * double(s.d)};
    });
  add(network("sum_h2", "relu", 19), [](auto& s) { s.weights = Weights::rows; });
  add(network("sum_h2", "relu", 70), [](auto& s) { s.weights = Weights::global; });  // so many rows that fewer runs go side by side
  add(network("sum_h2", "tanh", 8), [](auto&) {});
  add(network("staircase", "tanh", 3, 0.1), [](auto& s) { s.weights = Weights::global; });
  add(attention(Reduction::none, 2), [](auto& s) { s.position = PositionKind::opposite; });
  add(attention(Reduction::trace, 9), [](auto& s) {
    s.position = PositionKind::injected;
    s.c.assign(9, 0.5);
  });
  add(attention(Reduction::bilinear, 3), matrix(3));
  for (Weights w : {Weights::shared, Weights::rows, Weights::global})
    add(network("sum", "relu", 2), [w](auto& s) {
      s.weights = w;
      s.tokens.law = TokenLaw::correlated;
      s.tokens.factor = semidefinite_factor({1, 0.5, 0.5, 1}, 2);
    });
  return out;
}

static std::vector<double> final_states(const Case& c, Index runs, int threads, Index piece, bool single, Index first = 0) {
  ReducedSimulation sim(c.task, c.s, runs, first, threads, single);
  for (Index at = 0; at < 1000;) sim.advance(at = std::min<Index>(1000, at + piece), nullptr);
  std::vector<double> out(std::size_t(runs * sim.state_size()));
  for (Index r = 0; r < runs; ++r) sim.save(r, out.data() + r * sim.state_size());
  // Increments in single precision leave the sphere by 1e-7 of their own size, until they are settled.
  const double tolerance = single && c.task->student().sums_only && c.s.tokens.law == TokenLaw::gaussian ? 1e-6 : 1e-12;
  for (Index r = 0; r < runs; ++r) {
    double q = 0;
    const OrderParameters o = sim.order_parameters(r);
    for (double x : o.q) q += x / double(o.q.size());
    CHECK_NEAR(q, 1, tolerance);
    CHECK(sim.progress(r).step == 1000);
  }
  return out;
}

static void pieces_and_threads_do_not_matter() {
  for (bool single : {false, true})
    for (Index d : {4, 33, 100, 1000000})
      for (const Case& c : cases(d)) {
        if (d > 100 && c.s.position == PositionKind::matrix) continue;
        const Index runs = d == 100 ? 70 : 21;  // once so many that parts are taken four, two and one at a time
        const auto whole = final_states(c, runs, 1, 1000, single);
        CHECK(final_states(c, runs, 2, 1000, single) == whole);
        CHECK(final_states(c, runs, 3, 331, single) == whole);
        const Index size = Index(whole.size()) / runs;
        for (Index run : {Index(3), runs - 1}) CHECK(final_states(c, 1, 1, 1000, single, run) == std::vector<double>(whole.begin() + run * size, whole.begin() + (run + 1) * size));
      }
}

static void restored_runs_go_on_bit_for_bit() {
  for (const Case& c : cases(33)) {
    ReducedSimulation a(c.task, c.s, 1, 4, 1, true), b(c.task, c.s, 1, 4, 1, true);
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

// Mean and variance of chi-squares in groups of 16 that share a uniform, and the products of neighbours, at 5 standard errors; those of the proposals fail.
static void groups_of_chi_squares_have_their_law() {
  for (Index dof : {2, 5, 80})
    for (bool reviewed : {true, false}) {
      const ChiSquare chi(dof);
      OneByOne g(Use::start, Address{11, Stream::data, std::uint32_t(dof), 0});
      const Index groups = 60000, n = 16 * groups;
      double sum = 0, squares = 0, products = 0;
      for (Index k = 0; k < groups; ++k) {
        double x[16], before = 0;
        for (double& y : x) y = g.normal();
        if (reviewed) chi.review(16, g.uniform(), [&] { return OneByOne(Use::start, Address{12, Stream::data, std::uint32_t(dof), std::uint64_t(k)}); }, [&](Index i) -> double& { return x[i]; });
        for (double y : x) {
          const double v = 1 + chi.slope() * y, c = chi.scale() * v * v * v - double(dof);
          sum += c;
          squares += c * c;
          products += c * before;
          before = c;
        }
      }
      const double var = 2.0 * double(dof), fourth = 12 * double(dof) * (double(dof) + 4);
      const double z = std::max(std::fabs(sum) / std::sqrt(n * var), std::fabs(squares - n * var) / std::sqrt(n * (fourth - var * var)));
      CHECK(std::fabs(products) < 5 * var * std::sqrt(15.0 * groups));
      if (dof < 80) CHECK((z < 5) == reviewed);
      if (dof == 80) CHECK(z < 5);
    }
}

// Where groups are used, what accepts on sight exceeds the probability of refusal, at every normal that is drawn.
static void groups_are_accepted_on_sight_rightly() {
  for (Index dof : {72, 100, 1000, 1000000}) {
    const ChiSquare chi(dof);
    CHECK(chi.in_groups());
    for (double x = -8.6; x <= 8.6; x += 0.01) {
      double y = x;
      const auto again = [] { return OneByOne(Use::start, Address{1, Stream::data, 0, 0}); };
      chi.review(1, std::min(1 - 1e-15, 1e-12 + chi.bound() * x * x * x * x), again, [&](Index) -> double& { return y; });
      CHECK(y == x);  // not refused
    }
  }
}

// A normal is refused with probability 1 - exp(h): by uniforms below it, and by none above. So is the second of two, by what the first leaves.
static void groups_refuse_with_the_right_probability() {
  const auto again = [] { return OneByOne(Use::start, Address{1, Stream::data, 0, 0}); };
  int decided = 0;
  for (Index dof : {72, 100, 300, 1000, 100000, 100000000}) {
    if (dof > 1000 && LDBL_MANT_DIG < 64) continue;  // what h is compared with would be rounded too coarsely
    const ChiSquare chi(dof);
    const auto h = [&](long double x) {
      const long double a = (long double)dof / 2 - 1.0L / 3, w = x / sqrtl(9 * a);
      return x * x / 2 - 3 * a * (w + w * w + w * w * w / 3 - log1pl(w));
    };
    const auto refused = [&](double u, double x, double before) {
      double y[2] = {before, x};
      chi.review(2, u, again, [&](Index i) -> double& { return y[i]; });
      CHECK(y[0] == before || u < -expm1(double(h(before))) + 1e-13);
      return y[1] != x;
    };
    for (double x = -8.6; x <= 8.6; x += 0.37)
      for (double before : {0.0, 1.3, -2.5}) {
        const double p = -expm1(double(h(x) + h(before))), first = -expm1(double(h(before))), width = 1e-13 + 1e-9 * p;
        if (p - first < 10 * width) continue;  // smaller than what double precision tells apart
        ++decided;
        CHECK(refused(p - width, x, before));
        CHECK(!refused(p + width, x, before));
        CHECK(before == 0 || refused(first + width, x, before));
      }
  }
  CHECK(decided > 300);
}

static void the_hot_loop_allocates_nothing() {
  for (Case& c : cases(100)) {
    if (c.rows_meet) continue;  // one Householder reduction a step
    c.s.plan.record.clear();
    Records none(20, 0, weight_count(c.s, c.task->L()), c.task->L());
    ReducedSetting setting(*c.task, c.s, true, none);
    setting.workspaces.push_back(std::make_unique<ReducedWorkspace>(*c.task, setting.coordinates, setting.draws));
    ReducedUnit unit(setting, 0, 0, 20);
    const std::atomic<bool> pause{false};
    unit.advance(5000, 1600, 0, pause);  // packs its lanes
    const long before = allocations;
    while (!unit.done(5000)) unit.advance(5000, 5000, 0, pause);
    CHECK(allocations == before);
    CHECK(unit.progress(19).step == 5000);
  }
}

static void other_tokens_and_wrong_settings_are_refused() {
  const auto refused = [](auto change) {
    Case c = cases(10)[0];
    change(c.s);
    return check::throws([&] { ReducedSimulation(c.task, c.s, 1, 0, 1, true); });
  };
  CHECK(!refused([](auto&) {}));
  CHECK(refused([](auto& s) { s.d = 0; }));
  CHECK(refused([](auto& s) { s.init.m0 = 1.5; }));
  CHECK(refused([](auto& s) { s.tokens.law = TokenLaw::rademacher; }));
  CHECK(refused([](auto& s) { s.position = PositionKind::opposite; }));  // of three tokens
  CHECK(refused([](auto& s) { s.plan.record = {3, 3}; }));
}

int main() {
  pieces_and_threads_do_not_matter();
  restored_runs_go_on_bit_for_bit();
  groups_of_chi_squares_have_their_law();
  groups_are_accepted_on_sight_rightly();
  groups_refuse_with_the_right_probability();
  the_hot_loop_allocates_nothing();
  other_tokens_and_wrong_settings_are_refused();
  return check::report();
}
