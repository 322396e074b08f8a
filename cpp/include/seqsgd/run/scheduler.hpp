// Advances the work items of a simulation over threads, slice by slice, so that all move nearly in
// step and whoever waits can look or stop. Results never depend on the slices: the draws of an item
// are addressed by its step.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "seqsgd/state/work_item.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

class Scheduler {
 public:
  using Watch = std::function<bool(Index run_steps)>;  // called in the caller's thread; true
                                                       // pauses, and is the last call

  // True when every item has reached the target or has halted.
  static bool advance(const std::vector<std::unique_ptr<WorkItem>>& units, Index target,
                      int threads, const Watch& watch) {
    Scheduler e(units, target);
    if (e.queue_.empty()) return true;
    const int n = int(std::min<std::size_t>(std::size_t(std::max(1, threads)), e.queue_.size()));
    if (n == 1)
      e.work(0, &watch);
    else
      e.share(n, watch);
    if (e.error_) std::rethrow_exception(e.error_);
    for (const auto& u : units)
      if (!u->done(target)) return false;
    return true;
  }

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr auto look = std::chrono::milliseconds(50);
  static constexpr double slice_seconds = 0.02;

  Scheduler(const std::vector<std::unique_ptr<WorkItem>>& units, Index target) : target_(target) {
    for (const auto& u : units)
      if (!u->done(target)) queue_.push_back(u.get());
  }

  static Index steps_of(const WorkItem& u) {
    Index s = 0;
    for (Index r = 0; r < u.runs(); ++r) s += u.progress(r).step;
    return s;
  }

  void share(int n, const Watch& watch) {
    std::vector<std::thread> team;
    for (int i = 0; i < n; ++i) {
      {
        std::lock_guard<std::mutex> lock(mutex_);
        ++active_;
      }
      try {
        team.emplace_back([this, i] { work(i, nullptr); });
      } catch (const std::system_error&) {  // no more threads to be had: go on with those there are
        std::lock_guard<std::mutex> lock(mutex_);
        --active_;
        break;
      }
    }
    if (team.empty()) return work(0, &watch);
    try {
      std::unique_lock<std::mutex> lock(mutex_);
      while (active_ > 0) {
        finished_.wait_for(lock, look, [this] { return active_ == 0; });
        if (active_ == 0) break;
        lock.unlock();
        if (watch && !pause_ && watch(run_steps_)) pause_ = true;
        lock.lock();
      }
    } catch (...) {
      pause_ = true;
      for (std::thread& t : team) t.join();
      throw;
    }
    for (std::thread& t : team) t.join();
  }

  void work(int worker, const Watch* watch) {
    Index budget = 1;  // nothing is known yet of how long a step takes
    auto looked = Clock::now();
    try {
      while (WorkItem* u = take()) {
        const auto begin = Clock::now();
        const Index before = steps_of(*u);
        u->advance(target_, budget, worker, pause_);
        const Index steps = steps_of(*u) - before;
        run_steps_ += steps;
        give_back(u);
        const auto now = Clock::now();
        const double seconds = std::chrono::duration<double>(now - begin).count();
        budget = std::clamp<Index>(
            Index(double(std::max<Index>(steps, 1)) * slice_seconds / std::max(seconds, 1e-9)), 1,
            8 * budget);
        if (watch && *watch && now - looked >= look) {
          looked = now;
          if ((*watch)(run_steps_)) pause_ = true;
        }
      }
    } catch (...) {
      std::lock_guard<std::mutex> lock(mutex_);
      if (!error_) error_ = std::current_exception();
      pause_ = true;
    }
    std::lock_guard<std::mutex> lock(mutex_);
    --active_;
    finished_.notify_all();
  }

  WorkItem* take() {
    std::lock_guard<std::mutex> lock(mutex_);
    if (pause_ || queue_.empty()) return nullptr;
    WorkItem* u = queue_.front();
    queue_.pop_front();
    return u;
  }
  void give_back(WorkItem* u) {
    if (u->done(target_)) return;
    std::lock_guard<std::mutex> lock(mutex_);
    queue_.push_back(u);
  }

  const Index target_;
  std::deque<WorkItem*> queue_;
  std::mutex mutex_;
  std::condition_variable finished_;
  std::atomic<bool> pause_{false};
  std::atomic<Index> run_steps_{0};
  std::exception_ptr error_;
  int active_ = 0;
};

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd
