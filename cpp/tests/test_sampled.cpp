#include <chrono>
#include <cstdlib>
#include <new>
#include <thread>
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
void operator delete(void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }

using namespace seqsgd;

struct Case {
  const char* name;
  std::shared_ptr<Task> task;
  Settings s;
};

static std::vector<Case> cases(Index d) {
  std::vector<Case> out;
  const auto add = [&](const char* name, std::shared_ptr<Task> task, auto change) {
    Case c{name, std::move(task), {}};
    c.s.d = d;
    c.s.seed = 5;
    c.s.init.m0 = 0.2;
    c.s.lr.values = {0.05};
    c.s.plan.record = {0, 100, 1000};
    c.s.plan.eta = 1;  // looked for to the end
    c.s.plan.halt = false;
    change(c.s);
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
  add("tied sum", network("sum", "relu", 3), [](auto&) {});
  add("tied sum_h2 noisy", network("sum_h2", "tanh", 5, 0.1), [](auto&) {});
  add("untied rows", network("sum", "relu", 3), [](auto& s) { s.fields = FieldMap::per_token(3); });
  add("untied global projected", network("sum", "erf", 3), [](auto& s) {
    s.fields = FieldMap::per_token(3), s.spheres = Spheres::one(3);
    s.projected = true;
  });
  add("attention opposite", attention(Reduction::none, 2),
      [](auto& s) { s.position = PositionKind::opposite; });
  add("attention trace injected", attention(Reduction::trace, 9), [](auto& s) {
    s.position = PositionKind::injected;
    s.c.assign(9, 0.5);
  });
  add("bilinear matrix", attention(Reduction::bilinear, 3), [&](auto& s) {
    s.position = PositionKind::matrix;
    s.P = Matrix::Constant(3, d, 0.1);
    s.P(1, 0) = 1;
  });
  for (TokenLaw law :
       {TokenLaw::rademacher, TokenLaw::uniform, TokenLaw::student_t, TokenLaw::correlated})
    add("other tokens", network("sum", "relu", 2), [law](auto& s) {
      s.tokens.law = law;
      s.tokens.nu = 5;
      s.tokens.factor = semidefinite_factor({1, 0.5, 0.5, 1}, 2);
    });
  return out;
}

template <class T>
static std::vector<double> final_weights(const Case& c, Index runs, int threads, Index piece) {
  SampledSimulation<T> sim(c.task, c.s, runs, 0, threads);
  for (Index at = 0; at < 1000;) sim.advance(at = std::min<Index>(1000, at + piece), nullptr);
  std::vector<double> w(std::size_t(runs * c.s.fields.weights * c.s.d));
  for (Index r = 0; r < runs; ++r) sim.weights(r, w.data() + r * Index(w.size()) / runs);
  return w;
}

template <class T>
static void pieces_and_threads_do_not_matter() {
  for (Index d : {4, 33, 100})
    for (const Case& c : cases(d)) {
      const auto whole = final_weights<T>(c, 3, 1, 1000);
      CHECK(final_weights<T>(c, 3, 2, 1000) == whole);
      CHECK(final_weights<T>(c, 3, 1, 7) == whole);
      CHECK(final_weights<T>(c, 3, 2, 331) == whole);
      double norm = 0;
      for (double x : whole) norm += x * x;
      CHECK_NEAR(norm / double(whole.size()), 1, 1e-9);
    }
}

static void restored_runs_go_on_bit_for_bit() {
  for (const Case& c : cases(33)) {
    SampledSimulation<float> a(c.task, c.s, 1, 4, 1), b(c.task, c.s, 1, 4, 1);
    a.advance(517, nullptr);
    std::vector<float> v(std::size_t(c.s.fields.weights * c.s.d));
    std::vector<double> state(std::size_t(a.state_size()));
    a.save(0, state.data(), v.data());
    b.restore(0, state.data(), v.data());
    a.advance(1000, nullptr);
    b.advance(1000, nullptr);
    CHECK(a.order_parameters(0).m == b.order_parameters(0).m);
    CHECK(a.progress(0).loss_sum == b.progress(0).loss_sum);
  }
}

static void the_hot_loop_allocates_nothing() {
  for (Case& c : cases(100)) {
    c.s.plan.record.clear();
    SampledSimulation<float> sim(c.task, c.s, 1, 0, 1);
    sim.advance(10, nullptr);
    Workspace<float> ws(c.s, *c.task);
    std::vector<Workspace<float>> workers;
    workers.push_back(std::move(ws));
    Records none(1, 0, c.s.fields.weights, c.task->L());
    Run<SampledDynamics<float>> run(
        *c.task, c.s, 0, none, workers, 0,
        c.s.position == PositionKind::matrix
            ? std::make_shared<Positions<float>>(c.s.P, c.s.fields.one_weight())
            : nullptr);
    const std::atomic<bool> pause{false};
    const long before = allocations;
    run.advance(5000, 5000, 0, pause);
    CHECK(allocations == before);
    CHECK(run.progress(0).step == 5000);
  }
}

static void wrong_settings_are_refused() {
  const auto refused = [](auto change) {
    Case c = cases(10)[0];
    change(c.s);
    return check::throws([&] { SampledSimulation<float>(c.task, c.s, 1, 0, 1); });
  };
  CHECK(!refused([](auto&) {}));
  CHECK(refused([](auto& s) { s.d = 0; }));
  CHECK(refused([](auto& s) { s.init.m0 = 1.5; }));
  CHECK(refused([](auto& s) { s.init.m0 = std::nan(""); }));
  CHECK(refused([](auto& s) { s.position = PositionKind::opposite; }));
  CHECK(refused([](auto& s) { s.lr.values = {std::nan("")}; }));
  CHECK(refused([](auto& s) { s.plan.record = {3, 3}; }));
}

// A unit that is slow to see that it should pause.
struct Sleeper final : WorkItem {
  Progress p;
  OrderParameters o;
  Index runs() const override { return 1; }
  void advance(Index, Index, int, const std::atomic<bool>& pause) override {
    while (!pause) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    ++p.step;
  }
  bool done(Index target) const override { return p.step >= target; }
  const Progress& progress(Index) const override { return p; }
  OrderParameters order_parameters(Index) const override { return o; }
  Index state_size() const override { return 0; }
  void save(Index, double*, void*) const override {}
  void check_state(const double*, const void*) const override {}
  void restore(Index, const double*, const void*) override {}
};

static void whoever_paused_is_not_asked_again() {
  std::vector<std::unique_ptr<WorkItem>> both;
  for (int i = 0; i < 2; ++i) both.push_back(std::make_unique<Sleeper>());
  int asked = 0;
  CHECK(!Scheduler::advance(both, 10, 2, [&](Index) { return ++asked == 1; }));
  CHECK(asked == 1);
  CHECK(both[0]->progress(0).step == 1 && both[1]->progress(0).step == 1);
}

int main() {
  pieces_and_threads_do_not_matter<float>();
  pieces_and_threads_do_not_matter<double>();
  restored_runs_go_on_bit_for_bit();
  the_hot_loop_allocates_nothing();
  wrong_settings_are_refused();
  whoever_paused_is_not_asked_again();
  return check::report();
}
