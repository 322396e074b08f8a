// Runs of the reduced dynamics in packs: the order parameters themselves, exactly in law at finite
// d, at a cost that does not depend on d.
#pragma once

#include <memory>

#include "seqsgd/reduced/kernels/lane_group.hpp"
#include "seqsgd/state/work_item.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

// What all runs of a reduced simulation share.
struct ReducedShared {
  ReducedShared(const Task& task, const Settings& s, bool single, Records& records)
      : task(task),
        s(s),
        coordinates(s, task.L()),
        layout(task, s, coordinates, single),
        records(records) {}
  const Task& task;
  const Settings& s;
  const Coordinates coordinates;
  const DrawLayout layout;
  Records& records;
  std::vector<std::unique_ptr<ReducedWorkspace>> workspaces;  // one a worker
};

// Some runs, advanced group by group. Runs that halt leave their lanes, and the lanes are filled up
// from other groups.
class alignas(128) PackedRuns final : public WorkItem {
 public:
  PackedRuns(ReducedShared& shared, std::uint32_t first_run, Index first_row, Index runs)
      : shared_(shared),
        first_run_(first_run),
        first_row_(first_row),
        p_(runs),
        coords_(runs * 2 * size(), 0.0) {
    for (Index r = 0; r < runs; ++r) {
      starts_.push_back(
          reduced_start(shared_.s, shared_.coordinates, std::uint32_t(first_run + r)));
      for (Index i = 0; i < size(); ++i) coords_[2 * (r * size() + i)] = starts_.back().coords[i];
      Array<double>().swap(starts_.back().coords);
      if (shared_.s.plan.eta > 0 && recovered(r) >= shared_.s.plan.eta * shared_.s.plan.eta)
        p_[r].passage = 0;
      record_if_due(r);
    }
  }

  // Bytes kept for one run apart from its records and its share of a group.
  static double bytes_per_run(const Coordinates& c) {
    const double vectors = c.encoded ? double(c.L + c.shared) * double(c.r + 1) : 0;
    return 8 * (2 * double(c.size()) + vectors) + double(sizeof(Progress)) +
           2 * double(sizeof(ReducedStart)) + (c.encoded ? 64 : 0);
  }

  Index runs() const override { return Index(p_.size()); }
  bool done(Index target) const override {
    return std::all_of(p_.begin(), p_.end(),
                       [&](const Progress& p) { return p.done(target, shared_.s.plan); });
  }
  const Progress& progress(Index run) const override { return p_[run]; }

  void advance(Index target, Index budget, int worker, const std::atomic<bool>& pause) override {
    ReducedWorkspace& ws = *shared_.workspaces[worker];
    if (groups_.empty() ||
        target > packed_for_) {  // runs that were ahead of the target then may be behind it now
      unload();
      pack(target);
    }
    while (budget > 0 && !pause.load(std::memory_order_relaxed)) {
      Packed* group = nullptr;  // the one that is furthest behind, so that all stay within a block
      for (Packed& g : groups_)
        if (g.live > 0 && g.lanes->step() < target &&
            (!group || g.lanes->step() < group->lanes->step()))
          group = &g;
      if (!group) break;
      const Index before = group->lanes->step();
      try {
        advance(*group, std::min(target, before + std::max<Index>(1, budget / group_size)), ws,
                pause);
      } catch (...) {  // a link of the user's; the step's draws are used up
        unload();
        groups_.clear();
        throw;
      }
      budget -= std::max<Index>(1, group->lanes->step() - before) * group_size;
      repack_if_it_pays(target);
    }
    unload();
    if (done(target)) groups_.clear();
  }

  OrderParameters order_parameters(Index run) const override {
    const Coordinates& c = shared_.coordinates;
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
          e += starts_[run].P[l * (c.r + 1) + k] * coordinate(run, c.shared ? 0 : l, k);
        o.e.push_back(e);
      }
    return o;
  }

  // The mutable state of a run, flat.
  Index state_size() const override { return 2 * size() + Progress::size; }
  void save(Index run, double* state, void*) const override {
    checks::given("state", state);
    p_[run].save(std::copy_n(coords_.begin() + run * 2 * size(), 2 * size(), state));
  }
  void check_state(const double* state, const void*) const override {
    checks::given("state", state);
    for (Index i = 0; i < 2 * size(); ++i)
      if (!std::isfinite(state[i])) Progress::refuse();
    Progress::check(state + 2 * size(), shared_.s.plan);
  }
  void restore(Index run, const double* state, const void*) override {
    check_state(state, nullptr);
    groups_.clear();
    std::copy_n(state, 2 * size(), coords_.begin() + run * 2 * size());
    p_[run].restore(state + 2 * size());
  }

 private:
  struct Packed {
    std::unique_ptr<LaneGroup> lanes;
    Index run[seqsgd::group_size];  // -1: nobody's
    Index live = 0;
    Packed() { std::fill_n(run, seqsgd::group_size, -1); }
  };

  Index size() const { return shared_.coordinates.size(); }
  double coordinate(Index run, Index i, Index k) const {
    const double* x = coords_.data() + 2 * (run * size() + i * (shared_.coordinates.r + 2) + k);
    return shared_.layout.squared(shared_.coordinates, k) ? sqrt_nonneg(x[0] * x[0] + x[1])
                                                          : x[0] + x[1];
  }
  double recovered(Index run) const {
    const Coordinates& c = shared_.coordinates;
    double m2 = 0, q = 0, y = 0;
    for (Index i = 0; i < c.n; ++i)
      m2 += coordinate(run, i, 0) * coordinate(run, i, 0) / double(c.n);
    if (!c.encoded || !c.shared) return m2;
    for (Index k = 0; k <= c.r; ++k) {
      q += coordinate(run, 0, k) * coordinate(run, 0, k);
      y += coordinate(run, 0, k) * starts_[run].outside[k];
    }
    return m2 + (q - y * y);
  }

  // Batches of runs that are at the same step and have some way to go.
  void pack(Index target) {
    groups_.clear();
    packed_for_ = target;
    std::vector<Index> order;
    for (Index r = 0; r < runs(); ++r)
      if (!p_[r].done(target, shared_.s.plan)) order.push_back(r);
    std::stable_sort(order.begin(), order.end(),
                     [&](Index a, Index b) { return p_[a].step < p_[b].step; });
    for (std::size_t i = 0; i < order.size();) {
      Packed g;
      g.lanes =
          std::make_unique<LaneGroup>(shared_.task, shared_.s, shared_.coordinates, shared_.layout);
      const Index step = p_[order[i]].step;
      for (int lane = 0; lane < shared_.layout.together; ++lane) {
        const bool taken = i < order.size() && p_[order[i]].step == step;
        const Index r = taken ? order[i++] : g.run[0];
        const Progress& p = p_[r];
        g.run[lane] = taken ? r : -1;
        g.live += taken;
        g.lanes->load(lane, first_run_ + std::uint32_t(r), coords_.data() + 2 * r * size(),
                      starts_[r], p);
        g.lanes->watch(lane, taken && p.passage < 0, taken);
      }
      g.lanes->seek(step);
      groups_.push_back(std::move(g));
    }
  }

  // Lanes that stand empty cost as much as others.
  void repack_if_it_pays(Index target) {
    Index live = 0, groups = 0, step = -1;
    for (const Packed& g : groups_) {
      if (g.live == 0) continue;
      if (step >= 0 && g.lanes->step() != step) return;
      step = g.lanes->step();
      live += g.live;
      ++groups;
    }
    if (groups < 2 || live > (groups - 1) * shared_.layout.together ||
        step % shared_.layout.block != 0)
      return;
    unload();
    pack(target);
  }

  void unload() {
    for (Packed& g : groups_)
      for (int lane = 0; lane < group_size; ++lane)
        if (g.run[lane] >= 0) unload(g, lane);
  }
  void unload(Packed& g, int lane) {
    const Index r = g.run[lane];
    Progress& p = p_[r];
    g.lanes->unload(lane, coords_.data() + 2 * r * size());
    p.loss_count += g.lanes->step() - p.step;
    p.step = g.lanes->step();
    p.loss_sum = g.lanes->loss_sum(lane);
    p.loss_last = g.lanes->loss_last(lane);
  }

  // A group of runs to `end`, or to the next record, or to a pause.
  void advance(Packed& g, Index end, ReducedWorkspace& ws, const std::atomic<bool>& pause) {
    LaneGroup& b = *g.lanes;
    const Plan& plan = shared_.s.plan;
    Index record = end;  // the same for all that are at one step
    bool any_due = false;
    for (const Index r : g.run)
      if (r >= 0) {
        record = p_[r].due(plan, end);
        any_due = p_[r].next_record < Index(plan.record.size());
      }
    const Index block = shared_.layout.block,
                stop =
                    std::min({end, std::max(record, b.step() + 1), (b.step() / block + 1) * block});
    LaneGroup::Events events;
    while (b.step() < stop && g.live > 0 && !pause.load(std::memory_order_relaxed))
      if (b.step(ws, shared_.s.lr(b.step()), events)) {
        handle_events(g, events);
        events = {};
      }
    if (!any_due || b.step() != record || g.live == 0) return;
    for (int lane = 0; lane < group_size; ++lane)
      if (g.run[lane] >= 0) {
        unload(g, lane);
        record_if_due(g.run[lane]);
      }
    b.forget_losses();
  }

  void handle_events(Packed& g, const LaneGroup::Events& events) {
    const Plan& plan = shared_.s.plan;
    for (int lane = 0; lane < group_size; ++lane) {
      const Index r = g.run[lane];
      const bool passage = events.passage[lane / Pack::size][lane % Pack::size] != 0,
                 nonfinite = events.nonfinite[lane / Pack::size][lane % Pack::size] != 0;
      if (r < 0 || (!passage && !nonfinite)) continue;
      Progress& p = p_[r];
      unload(g, lane);
      if (nonfinite) {
        p.take_back();
        p.stop();
      } else {
        p.passage = p.step;
      }
      g.lanes->watch(lane, false, !p.halted(plan));
      if (!p.halted(plan)) continue;
      record_if_due(r);
      g.run[lane] = -1;
      --g.live;
    }
  }

  void record_if_due(Index r) {
    p_[r].record_if_due(shared_.s.plan, shared_.records, first_row_ + r,
                        [&] { return order_parameters(r); });
  }

  ReducedShared& shared_;
  const std::uint32_t first_run_;
  const Index first_row_;
  Array<Progress> p_;
  Array<double> coords_;  // (runs, size, 2), as of the last unload
  Array<ReducedStart> starts_;
  std::vector<Packed> groups_;
  Index packed_for_ = 0;  // the target
};

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
