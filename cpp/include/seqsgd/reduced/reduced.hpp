// The reduced dynamics: the order parameters themselves, exactly in law at finite d, at a cost that
// does not depend on d.
#pragma once

#include <memory>

#include "seqsgd/reduced/kernels/batch.hpp"
#include "seqsgd/state/unit.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

// What all runs of a reduced simulation share.
struct ReducedSetting {
  ReducedSetting(const Task& task, const Settings& s, bool single, Records& records)
      : task(task),
        s(s),
        coordinates(s, task.L()),
        draws(task, s, coordinates, single),
        records(records) {}
  const Task& task;
  const Settings& s;
  const Coordinates coordinates;
  const ReducedDraws draws;
  Records& records;
  std::vector<std::unique_ptr<ReducedWorkspace>> workspaces;  // one a worker
};

// Some runs, advanced batch by batch. Runs that halt leave their lanes, and the lanes are filled up
// from other batches.
class alignas(128) ReducedUnit final : public Unit {
 public:
  ReducedUnit(ReducedSetting& setting, std::uint32_t first_run, Index first_row, Index runs)
      : o_(setting),
        first_run_(first_run),
        first_row_(first_row),
        p_(std::size_t(runs)),
        at_(std::size_t(runs * 2 * size()), 0.0) {
    for (Index r = 0; r < runs; ++r) {
      starts_.push_back(reduced_start(o_.s, o_.coordinates, std::uint32_t(first_run + r)));
      for (Index i = 0; i < size(); ++i)
        at_[std::size_t(2 * (r * size() + i))] = starts_.back().at[std::size_t(i)];
      std::vector<double>().swap(starts_.back().at);
      if (o_.s.plan.eta > 0 && recovered(r) >= o_.s.plan.eta * o_.s.plan.eta)
        p_[std::size_t(r)].passage = 0;
      record_if_due(r);
    }
  }

  // Of what is kept of one run beside its records and its share of a batch.
  static double bytes_per_run(const Coordinates& c) {
    const double vectors = c.encoded ? double(c.L + c.shared) * double(c.r + 1) : 0;
    return 8 * (2 * double(c.size()) + vectors) + double(sizeof(Progress)) +
           2 * double(sizeof(ReducedStart)) + (c.encoded ? 64 : 0);
  }

  Index runs() const override { return Index(p_.size()); }
  bool done(Index target) const override {
    return std::all_of(p_.begin(), p_.end(),
                       [&](const Progress& p) { return p.done(target, o_.s.plan); });
  }
  const Progress& progress(Index run) const override { return p_[std::size_t(run)]; }

  void advance(Index target, Index budget, int worker, const std::atomic<bool>& pause) override {
    ReducedWorkspace& ws = *o_.workspaces[std::size_t(worker)];
    if (lanes_.empty() ||
        target > packed_for_) {  // runs that were ahead of the target then may be behind it now
      unload();
      pack(target);
    }
    while (budget > 0 && !pause.load(std::memory_order_relaxed)) {
      Group* group = nullptr;  // the one that is furthest behind, so that all stay within a block
      for (Group& g : lanes_)
        if (g.live > 0 && g.batch->step() < target &&
            (!group || g.batch->step() < group->batch->step()))
          group = &g;
      if (!group) break;
      const Index before = group->batch->step();
      try {
        advance(*group, std::min(target, before + std::max<Index>(1, budget / batch)), ws, pause);
      } catch (...) {  // a link of the user's; the step's draws are used up
        unload();
        lanes_.clear();
        throw;
      }
      budget -= std::max<Index>(1, group->batch->step() - before) * batch;
      repack_if_it_pays(target);
    }
    unload();
    if (done(target)) lanes_.clear();
  }

  OrderParameters order_parameters(Index run) const override {
    const Coordinates& c = o_.coordinates;
    OrderParameters o;
    for (Index i = 0; i < c.n; ++i) {
      double q = 0;
      for (Index k = 0; k < c.r + 2; ++k) q += coordinate(run, i, k) * coordinate(run, i, k);
      o.m.push_back(coordinate(run, i, 0));
      o.q.push_back(q);
    }
    if (c.encoded)
      for (Index l = 0; l < c.L; ++l) {
        double e = 0;
        for (Index k = 0; k <= c.r; ++k)
          e += starts_[std::size_t(run)].P[std::size_t(l * (c.r + 1) + k)] *
               coordinate(run, c.shared ? 0 : l, k);
        o.e.push_back(e);
      }
    return o;
  }

  // The mutable state of a run, flat.
  Index state_size() const override { return 2 * size() + Progress::size; }
  void save(Index run, double* state, void*) const override {
    checks::given("state", state);
    p_[std::size_t(run)].save(std::copy_n(at_.begin() + run * 2 * size(), 2 * size(), state));
  }
  void check_state(const double* state, const void*) const override {
    checks::given("state", state);
    for (Index i = 0; i < 2 * size(); ++i)
      if (!std::isfinite(state[i])) Progress::refuse();
    Progress::check(state + 2 * size(), o_.s.plan);
  }
  void restore(Index run, const double* state, const void*) override {
    check_state(state, nullptr);
    lanes_.clear();
    std::copy_n(state, 2 * size(), at_.begin() + run * 2 * size());
    p_[std::size_t(run)].restore(state + 2 * size());
  }

 private:
  struct Group {
    std::unique_ptr<ReducedBatch> batch;
    Index run[seqsgd::batch];  // -1: nobody's
    Index live = 0;
    Group() { std::fill_n(run, seqsgd::batch, -1); }
  };

  Index size() const { return o_.coordinates.size(); }
  double coordinate(Index run, Index i, Index k) const {
    const double* x = at_.data() + 2 * (run * size() + i * (o_.coordinates.r + 2) + k);
    return o_.draws.squared(o_.coordinates, k) ? root_or_zero(x[0] * x[0] + x[1]) : x[0] + x[1];
  }
  double recovered(Index run) const {
    const Coordinates& c = o_.coordinates;
    double m2 = 0, q = 0, y = 0;
    for (Index i = 0; i < c.n; ++i)
      m2 += coordinate(run, i, 0) * coordinate(run, i, 0) / double(c.n);
    if (!c.encoded || !c.shared) return m2;
    for (Index k = 0; k <= c.r; ++k) {
      q += coordinate(run, 0, k) * coordinate(run, 0, k);
      y += coordinate(run, 0, k) * starts_[std::size_t(run)].outside[std::size_t(k)];
    }
    return m2 + (q - y * y);
  }

  // Batches of runs that are at the same step and have some way to go.
  void pack(Index target) {
    lanes_.clear();
    packed_for_ = target;
    std::vector<Index> order;
    for (Index r = 0; r < runs(); ++r)
      if (!p_[std::size_t(r)].done(target, o_.s.plan)) order.push_back(r);
    std::stable_sort(order.begin(), order.end(), [&](Index a, Index b) {
      return p_[std::size_t(a)].step < p_[std::size_t(b)].step;
    });
    for (std::size_t i = 0; i < order.size();) {
      Group g;
      g.batch = std::make_unique<ReducedBatch>(o_.task, o_.s, o_.coordinates, o_.draws);
      const Index step = p_[std::size_t(order[i])].step;
      for (int lane = 0; lane < o_.draws.together; ++lane) {
        const bool taken = i < order.size() && p_[std::size_t(order[i])].step == step;
        const Index r = taken ? order[i++] : g.run[0];
        const Progress& p = p_[std::size_t(r)];
        g.run[lane] = taken ? r : -1;
        g.live += taken;
        g.batch->load(lane, first_run_ + std::uint32_t(r), at_.data() + 2 * r * size(),
                      starts_[std::size_t(r)], p);
        g.batch->watch(lane, taken && p.passage < 0, taken);
      }
      g.batch->seek(step);
      lanes_.push_back(std::move(g));
    }
  }

  // Lanes that stand empty cost as much as others.
  void repack_if_it_pays(Index target) {
    Index live = 0, groups = 0, step = -1;
    for (const Group& g : lanes_) {
      if (g.live == 0) continue;
      if (step >= 0 && g.batch->step() != step) return;
      step = g.batch->step();
      live += g.live;
      ++groups;
    }
    if (groups < 2 || live > (groups - 1) * o_.draws.together || step % o_.draws.block != 0) return;
    unload();
    pack(target);
  }

  void unload() {
    for (Group& g : lanes_)
      for (int lane = 0; lane < batch; ++lane)
        if (g.run[lane] >= 0) unload(g, lane);
  }
  void unload(Group& g, int lane) {
    const Index r = g.run[lane];
    Progress& p = p_[std::size_t(r)];
    g.batch->unload(lane, at_.data() + 2 * r * size());
    p.loss_count += g.batch->step() - p.step;
    p.step = g.batch->step();
    p.loss_sum = g.batch->loss_sum(lane);
    p.loss_last = g.batch->loss_last(lane);
  }

  // A group of runs to `end`, or to the next record, or to a pause.
  void advance(Group& g, Index end, ReducedWorkspace& ws, const std::atomic<bool>& pause) {
    ReducedBatch& b = *g.batch;
    const Plan& plan = o_.s.plan;
    Index record = end;  // the same for all that are at one step
    bool any_due = false;
    for (const Index r : g.run)
      if (r >= 0) {
        record = p_[std::size_t(r)].due(plan, end);
        any_due = p_[std::size_t(r)].next_record < Index(plan.record.size());
      }
    const Index block = o_.draws.block,
                stop =
                    std::min({end, std::max(record, b.step() + 1), (b.step() / block + 1) * block});
    ReducedBatch::Events events;
    while (b.step() < stop && g.live > 0 && !pause.load(std::memory_order_relaxed))
      if (b.step(ws, o_.s.lr(b.step()), events)) {
        happened(g, events);
        events = {};
      }
    if (!any_due || b.step() != record || g.live == 0) return;
    for (int lane = 0; lane < batch; ++lane)
      if (g.run[lane] >= 0) {
        unload(g, lane);
        record_if_due(g.run[lane]);
      }
    b.forget_losses();
  }

  void happened(Group& g, const ReducedBatch::Events& events) {
    const Plan& plan = o_.s.plan;
    for (int lane = 0; lane < batch; ++lane) {
      const Index r = g.run[lane];
      const bool passage = events.passage[lane / wide][lane % wide] != 0,
                 nonfinite = events.nonfinite[lane / wide][lane % wide] != 0;
      if (r < 0 || (!passage && !nonfinite)) continue;
      Progress& p = p_[std::size_t(r)];
      unload(g, lane);
      if (nonfinite) {
        p.take_back();
        p.stop();
      } else {
        p.passage = p.step;
      }
      g.batch->watch(lane, false, !p.halted(plan));
      if (!p.halted(plan)) continue;
      record_if_due(r);
      g.run[lane] = -1;
      --g.live;
    }
  }

  void record_if_due(Index r) {
    p_[std::size_t(r)].record_if_due(o_.s.plan, o_.records, first_row_ + r,
                                     [&] { return order_parameters(r); });
  }

  ReducedSetting& o_;
  const std::uint32_t first_run_;
  const Index first_row_;
  std::vector<Progress> p_;
  std::vector<double> at_;  // (runs, size, 2), as of the last unload
  std::vector<ReducedStart> starts_;
  std::vector<Group> lanes_;
  Index packed_for_ = 0;  // the target
};

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
