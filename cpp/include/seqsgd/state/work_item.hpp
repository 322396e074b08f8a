// A unit of work: one run, or several in lockstep, that can be advanced, observed, saved and
// restored. What the ensemble schedules.
#pragma once

#include <atomic>

#include "seqsgd/state/record.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

class WorkItem {
 public:
  virtual ~WorkItem() = default;
  virtual Index runs() const = 0;
  // Advance to `target`, recording by the plan; returns early, between two steps, once `pause` is
  // set or `budget` run-steps are done.
  virtual void advance(Index target, Index budget, int worker, const std::atomic<bool>& pause) = 0;
  virtual bool done(Index target) const = 0;
  virtual const Progress& progress(Index run) const = 0;
  virtual OrderParameters order_parameters(Index run) const = 0;

  // The whole mutable state of a run: `state_size` doubles, and where a dynamics keeps weights
  // these as (weights, d) numbers of its precision; else `w` is not looked at.
  virtual Index state_size() const = 0;
  virtual void save(Index run, double* state, void* w) const = 0;
  virtual void check_state(const double* state, const void* w) const = 0;  // throws unless restore
                                                                           // can take this
  virtual void restore(Index run, const double* state, const void* w) = 0;
};

// What a step of one run gives to its task, and where its task answers.
struct Sample {
  const double *zstar, *z, *noise;  // fields; standard normals of the label noise, or null
  double* delta;                    // d loss / d z, `fields` of them
  Index fields;
  double* scratch;
};

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
