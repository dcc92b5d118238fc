// The two ends of a call: submit() turns arguments into bytes, run_thunk() turns them back and calls. Both see T; nothing
// between them does.
#pragma once

#include <array>
#include <tuple>

#include <rayx/detail/call_plan.hpp>
#include <rayx/detail/values.hpp>

namespace rayx::detail {

// ---- In the worker

template <class Callee, class R, class... Encoded, class... Ps, std::size_t... kIndex>
void run(ExecContext& context, TypeList<Ps...>, std::index_sequence<kIndex...>) {
  ArgumentSource source(context);
  // Braces: decoded from left to right.
  std::tuple<codec::Parameter<Ps, Encoded>...> arguments{
      source.template take<Ps, Encoded>(static_cast<std::uint32_t>(kIndex))...};
  if constexpr (std::is_void_v<R>) {
    Callee::call(context.instance, std::get<kIndex>(arguments).get()...);
    context.result.size = 0;
  } else {
    store_result(context, std::remove_cv_t<R>(Callee::call(context.instance, std::get<kIndex>(arguments).get()...)));
  }
}

template <class Callee, class R, class Parameters, class Decoded>
struct Thunk;
template <class Callee, class R, class Parameters, class... Decoded>
struct Thunk<Callee, R, Parameters, TypeList<Decoded...>> {
  static void call(ExecContext& context) {
    run<Callee, R, Decoded...>(context, Parameters{}, std::index_sequence_for<Decoded...>{});
  }
  static constexpr auto destroy() -> void (*)(void*) {
    if constexpr (Callee::kKind == FunctionKind::kActorConstructor) {
      return &Callee::destroy;
    } else {
      return nullptr;
    }
  }
  static constexpr auto class_name() -> std::string_view (*)() {
    if constexpr (Callee::kKind == FunctionKind::kTask) {
      return nullptr;
    } else {
      return &Callee::class_name;
    }
  }
  static constinit inline FunctionInfo info{&call,        destroy(),          &Callee::name,
                                            class_name(), sizeof...(Decoded), Callee::kKind};
  // Runs before main, in the driver and in each worker.
  static inline const bool registered = (register_function(info), true);
};

// ---- In the caller

// Encodes the value arguments of one call, small into the stack, else into a block of the backend.
template <class Callee, class... Args>
struct Call {
  using Sig = typename Callee::template Sig<Args...>;
  using ThePlan = Plan<typename Sig::Parameters, Args...>;
  using TheThunk = Thunk<Callee, typename Sig::Result, typename Sig::Parameters, typename ThePlan::Decoded>;

  // `submit` gets the backend, the TaskCall and a Failure, and returns the new cell.
  template <class Submit>
  static RefCell* make(Backend& backend, const char* what, const TaskOptions* options, Submit&& submit,
                       const Args&... args) {
    return with_parameters(backend, what, options, submit, typename Sig::Parameters{}, args...);
  }

 private:
  template <class Submit, class... Ps>
  static RefCell* with_parameters(Backend& backend, const char* what, const TaskOptions* options, Submit& submit,
                                  TypeList<Ps...>, const Args&... args) {
    (void)TheThunk::registered;
    TaskCall call;
    call.function = &TheThunk::info;
    call.options = options;

    std::array<Dependency, ThePlan::kDependencies + 1> dependencies;
    if constexpr (ThePlan::kDependencies > 0) {
      std::size_t count = 0;
      std::uint32_t position = 0;
      (add_dependency<Passing<Ps, Args>::kIsDependency>(args, dependencies.data(), count, position, what), ...);
      call.dependencies = {dependencies.data(), count};
    }

    alignas(8) std::byte small[kRecordInlineBytes];
    Encoding<EncodedArgument<Ps, Args>...> encoding(backend, what, small, as_parameter<Ps>(args)...);
    call.arguments = encoding.hand_over();
    Failure failure;
    RefCell* const cell = submit(backend, call, failure);
    if (cell == nullptr) [[unlikely]]
      throw_failure(std::move(failure), what);
    return cell;
  }

  template <bool kIsDependency, class A>
  static void add_dependency(const A& argument, Dependency* dependencies, std::size_t& count, std::uint32_t& position,
                             const char* what) {
    if constexpr (kIsDependency) {
      RefCell* const cell = RefAccess::cell(argument);
      require_backend_of(cell, what);
      dependencies[count++] = {cell, position};
    }
    ++position;
  }

  template <class P, class A>
  using EncodedArgument = std::conditional_t<Passing<P, A>::kIsDependency, Nothing, std::remove_cvref_t<P>>;
  // The argument as the parameter's type: itself if it is that already, else converted; Nothing for a dependency.
  template <class P, class A>
  static decltype(auto) as_parameter(const A& argument) {
    if constexpr (Passing<P, A>::kIsDependency) {
      return Nothing{};
    } else {
      return codec::to_parameter<P>(argument);
    }
  }
};

}  // namespace rayx::detail
