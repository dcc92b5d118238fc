// rayx: tasks, actors and shared objects across processes. The one header that a program includes.
#pragma once

#if __cplusplus < 202002L
#error "rayx: C++20 is needed: compile with -std=c++20"
#endif

// Not needed here: so that this one header is all that a program which prints its results includes.
#include <iostream>

// First, so that the error line of a wrong call does not come with the way to it through other headers.
#include <rayx/array.hpp>

#include <rayx/remote.hpp>

#include <rayx/objects.hpp>

#include <rayx/actor.hpp>
#include <rayx/channel.hpp>
#include <rayx/cluster.hpp>
#include <rayx/errors.hpp>
#include <rayx/key_values.hpp>
#include <rayx/nodes.hpp>
#include <rayx/object_ref.hpp>
#include <rayx/options.hpp>
#include <rayx/parallel.hpp>
#include <rayx/register_exception.hpp>
#include <rayx/result.hpp>
#include <rayx/runtime.hpp>
#include <rayx/spark.hpp>
