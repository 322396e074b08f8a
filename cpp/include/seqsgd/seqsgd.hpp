// The whole core: tasks, the sampled and the reduced dynamics. Header-only; needs Eigen and C++17.
#pragma once

#include "seqsgd/run/callback_source.hpp"
#include "seqsgd/run/reduced_simulation.hpp"
#include "seqsgd/run/sampled_simulation.hpp"
