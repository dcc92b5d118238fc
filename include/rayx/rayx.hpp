// rayx: tasks, actors and shared objects across processes. The one header that a program includes.
#pragma once

#include <rayx/actor.hpp>
#include <rayx/array.hpp>
#include <rayx/errors.hpp>
#include <rayx/object_ref.hpp>
#include <rayx/objects.hpp>
#include <rayx/options.hpp>
#include <rayx/parallel.hpp>
#include <rayx/register_exception.hpp>
#include <rayx/remote.hpp>
#include <rayx/result.hpp>
#include <rayx/runtime.hpp>
