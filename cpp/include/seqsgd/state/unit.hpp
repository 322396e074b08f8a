// A unit of work: one run, or several in lockstep, that can be advanced, observed, saved and
// restored. What the ensemble schedules.
#pragma once

#include <atomic>
#include <vector>

#include "seqsgd/state/record.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

class Unit {
 public:
  virtual ~Unit() = default;
  virtual Index runs() const = 0;
  // Advance to `target`, recording by the plan; returns early, between two steps, once `pause` is
  // set or `budget` run-steps are done.
  virtual void advance(Index target, Index budget, int worker, const std::atomic<bool>& pause) = 0;
  virtual bool done(Index target) const = 0;
  virtual const Progress& progress(Index run) const = 0;
  virtual OrderParameters order_parameters(Index run) const = 0;
};

// Runs of the reduced dynamics: their mutable state is a few doubles.
class ReducedRuns : public Unit {
 public:
  virtual Index state_size() const = 0;
  virtual void save(Index run, double* state) const = 0;
  virtual void check_state(const double* state) const = 0;  // throws unless restore can take this
  virtual void restore(Index run, const double* state) = 0;
};

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
