// A simulation of the reduced dynamics; T is the precision of the draws, the state is double.
#pragma once

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "seqsgd/reduced/gram.hpp"
#include "seqsgd/reduced/packed_runs.hpp"
#include "seqsgd/run/run.hpp"
#include "seqsgd/run/simulation.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

template <class T>
class ReducedSimulation : public Simulation {
 public:
  using Scalar = T;
  static constexpr bool has_weights = false;

  ReducedSimulation(std::shared_ptr<const Task> task, Settings s, Index runs, Index first_run,
                    int threads)
      : Simulation(accepted<ReducedSimulation>(std::move(task), s, runs, first_run, threads),
                   std::move(s), runs),
        shared_(*task_, s_, single, records_) {
    const bool one_by_one = follows_overlaps(s_);
    runs_per_item_ = one_by_one ? 1 : runs_per_item(runs, shared_.layout.together, threads);
    for (Index first = 0; first < runs; first += runs_per_item_) {
      if (one_by_one)
        items_.push_back(std::make_unique<Run<GramDynamics>>(
            *task_, s_, first, records_, gram_workspaces_, std::uint32_t(first_run + first),
            shared_.coordinates));
      else
        items_.push_back(std::make_unique<PackedRuns>(shared_, std::uint32_t(first_run + first),
                                                      first,
                                                      std::min(runs_per_item_, runs - first)));
    }
    workers_ = int(std::min<Index>(threads, Index(items_.size())));
    for (int i = 0; i < workers_; ++i) {
      if (one_by_one)
        gram_workspaces_.emplace_back(*task_, s_);
      else
        shared_.workspaces.push_back(
            std::make_unique<ReducedWorkspace>(*task_, shared_.coordinates, shared_.layout));
    }
  }

  // Memory of such a simulation, to good approximation, before it is made.
  static double bytes(const Settings& s, const Task& task, Index runs, int threads) {
    check(s, task.L(), runs, 0, threads);
    check_reduced(s);
    const double L = task.L(), all = double(runs), record = bytes_of_records(s, task);
    const double common =
        (s.position == PositionKind::matrix ? 8 * L * (2 * L + 4 * double(s.d)) : 0) +
        16 * double(s.tokens.factor.F.size());
    const Coordinates c(s, task.L(), false);
    if (follows_overlaps(s))
      return all * (record + GramDynamics::bytes(c)) +
             double(std::min<Index>(threads, runs)) * GramDynamics::bytes_of_worker(c, task) +
             common;
    const DrawLayout layout(task, s, c, single);
    const Index each = runs_per_item(runs, layout.together, threads),
                units = (runs + each - 1) / each, taken = std::min(each, runs);
    const double groups = double(units) * double((taken + layout.together - 1) / layout.together),
                 workers = double(std::min<Index>(threads, units));
    return all * (record + PackedRuns::bytes_per_run(c)) + groups * LaneGroup::bytes(c, layout) +
           workers * ReducedWorkspace::bytes(task, c, layout) + common;
  }

 private:
  static constexpr bool single = sizeof(T) == 4;

  // Whole groups, several to a work item so that lanes can be filled up, few enough for all threads
  // to have work; few runs are shared out among the threads by single packs.
  static Index runs_per_item(Index runs, Index together, int threads) {
    if (runs < together * threads)
      return Pack::size *
             ((runs + Index(Pack::size) * threads - 1) / (Index(Pack::size) * threads));
    const Index groups = (runs + together - 1) / together;
    return together * std::clamp<Index>(groups / (4 * threads), 1, 8);
  }

  ReducedShared shared_;
  std::vector<GramWorkspace> gram_workspaces_;
};

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
