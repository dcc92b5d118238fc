// Takes exceptions apart and puts them together again with their own type: the standard library's here, the user's by
// register_exception. Only the exact type counts: a class derived from one of these is another type.
#include <cxxabi.h>
#include <unistd.h>

#include <any>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <future>
#include <ios>
#include <memory>
#include <new>
#include <optional>
#include <regex>
#include <system_error>
#include <typeinfo>
#include <variant>

#include "observe/frames.hpp"
#include "rayx/detail/backend.hpp"
#include "rayx/detail/remote_failure.hpp"
#include "rayx/errors.hpp"

namespace rayx::detail {
namespace {

template <class E>
[[noreturn]] void throw_as(E error, RemoteFailure& failure) {
  auto shared = std::make_shared<const RemoteFailure>(std::move(failure));
  throw RemoteError<E>(std::move(error), std::move(shared));
}

template <class E>
void take_message(const std::exception_ptr& error, RemoteFailure& failure) {
  try {
    std::rethrow_exception(error);
  } catch (const E& caught) {
    failure.message = what_text(caught.what());
  }
}

// Types whose message is all they hold.
template <class E>
ExceptionType with_message{.type = &typeid(E),
                           .take_apart = take_message<E>,
                           .throw_again = [](RemoteFailure& failure) { throw_as(E(failure.message), failure); }};
// Types that hold nothing.
template <class E>
ExceptionType without_message{.type = &typeid(E),
                              .take_apart = take_message<E>,
                              .throw_again = [](RemoteFailure& failure) { throw_as(E(), failure); }};

// An std::error_code: its category by name, as an address means nothing elsewhere.
struct CodePayload {
  std::int32_t value = 0;
  std::uint8_t category = 0;  // 0: unknown
};
const std::error_category* const kCategories[] = {nullptr, &std::generic_category(), &std::system_category(),
                                                  &std::iostream_category(), &std::future_category()};

void put_code(const std::error_code& code, std::string& payload) {
  CodePayload bytes{code.value(), 0};
  for (std::uint8_t i = 1; i < std::size(kCategories); ++i) {
    if (code.category() == *kCategories[i]) bytes.category = i;
  }
  payload.assign(sizeof(bytes.value) + 1, '\0');
  std::memcpy(payload.data(), &bytes.value, sizeof(bytes.value));
  payload.back() = static_cast<char>(bytes.category);
}
std::optional<std::error_code> get_code(std::string_view payload) {
  CodePayload bytes;
  if (payload.size() < sizeof(bytes.value) + 1) return std::nullopt;
  std::memcpy(&bytes.value, payload.data(), sizeof(bytes.value));
  bytes.category = static_cast<std::uint8_t>(payload[sizeof(bytes.value)]);
  if (bytes.category == 0 || bytes.category >= std::size(kCategories)) return std::nullopt;
  return std::error_code(bytes.value, *kCategories[bytes.category]);
}
// What the user gave: these classes append ": " and the code's text by themselves.
std::string without_code_text(const std::string& message, const std::error_code& code) {
  const std::string end = code.message();
  if (!message.ends_with(end)) return message;
  std::string_view head(message.data(), message.size() - end.size());
  if (head.ends_with(": ")) head.remove_suffix(2);
  return std::string(head);
}

template <class E>
void take_code(const std::exception_ptr& error, RemoteFailure& failure) {
  try {
    std::rethrow_exception(error);
  } catch (const E& caught) {
    failure.message = what_text(caught.what());
    put_code(caught.code(), failure.payload);
  }
}
template <class E>
void throw_with_code(RemoteFailure& failure) {
  if (const auto code = get_code(failure.payload)) {
    throw_as(E(without_code_text(failure.message, *code), *code), failure);
  }
}

ExceptionType system_error_type{.type = &typeid(std::system_error),
                                .take_apart = take_code<std::system_error>,
                                .throw_again = [](RemoteFailure& failure) {
                                  if (const auto code = get_code(failure.payload)) {
                                    const std::string what = without_code_text(failure.message, *code);
                                    if (what.empty()) throw_as(std::system_error(*code), failure);
                                    throw_as(std::system_error(*code, what), failure);
                                  }
                                }};
ExceptionType ios_failure_type{.type = &typeid(std::ios_base::failure),
                               .take_apart = take_code<std::ios_base::failure>,
                               .throw_again = throw_with_code<std::ios_base::failure>};
ExceptionType future_error_type{.type = &typeid(std::future_error),
                                .take_apart = take_code<std::future_error>,
                                .throw_again = [](RemoteFailure& failure) {
                                  if (const auto code = get_code(failure.payload)) {
                                    throw_as(std::future_error(static_cast<std::future_errc>(code->value())), failure);
                                  }
                                }};

// Code, then length and bytes of what was given, then the two paths, separated by the byte that no path contains.
ExceptionType filesystem_error_type{
    .type = &typeid(std::filesystem::filesystem_error),
    .take_apart =
        [](const std::exception_ptr& error, RemoteFailure& failure) {
          try {
            std::rethrow_exception(error);
          } catch (const std::filesystem::filesystem_error& caught) {
            failure.message = what_text(caught.what());
            put_code(caught.code(), failure.payload);
            failure.payload += caught.path1().native() + '\0' + caught.path2().native();
          }
        },
    .throw_again =
        [](RemoteFailure& failure) {
          const auto code = get_code(failure.payload);
          if (!code) return;
          const std::string paths = failure.payload.substr(sizeof(std::int32_t) + 1);
          const std::size_t cut = paths.find('\0');
          if (cut == std::string::npos) return;
          const std::filesystem::path first(paths.substr(0, cut)), second(paths.substr(cut + 1));
          // The message is "filesystem error: WHAT: CODE [path1] [path2]"; the class builds it again from WHAT.
          std::string what = failure.message;
          constexpr std::string_view kHead = "filesystem error: ";
          if (what.starts_with(kHead)) what.erase(0, kHead.size());
          const std::size_t end = what.rfind(": " + code->message());
          if (end != std::string::npos) what.erase(end);
          if (!second.empty()) throw_as(std::filesystem::filesystem_error(what, first, second, *code), failure);
          if (!first.empty()) throw_as(std::filesystem::filesystem_error(what, first, *code), failure);
          throw_as(std::filesystem::filesystem_error(what, *code), failure);
        }};

ExceptionType regex_error_type{.type = &typeid(std::regex_error),
                               .take_apart =
                                   [](const std::exception_ptr& error, RemoteFailure& failure) {
                                     try {
                                       std::rethrow_exception(error);
                                     } catch (const std::regex_error& caught) {
                                       failure.message = what_text(caught.what());
                                       failure.payload = std::to_string(static_cast<int>(caught.code()));
                                     }
                                   },
                               .throw_again =
                                   [](RemoteFailure& failure) {
                                     const int code = std::atoi(failure.payload.c_str());
                                     throw_as(std::regex_error(static_cast<std::regex_constants::error_type>(code)),
                                              failure);
                                   }};

struct Registry {
  std::atomic<ExceptionType*> first{nullptr};
};
constinit Registry g_registered;

ExceptionType* const kStandardTypes[] = {&with_message<std::runtime_error>,
                                         &with_message<std::logic_error>,
                                         &with_message<std::invalid_argument>,
                                         &with_message<std::out_of_range>,
                                         &with_message<std::domain_error>,
                                         &with_message<std::length_error>,
                                         &with_message<std::range_error>,
                                         &with_message<std::overflow_error>,
                                         &with_message<std::underflow_error>,
                                         &without_message<std::exception>,
                                         &without_message<std::bad_alloc>,
                                         &without_message<std::bad_array_new_length>,
                                         &without_message<std::bad_cast>,
                                         &without_message<std::bad_typeid>,
                                         &without_message<std::bad_exception>,
                                         &without_message<std::bad_function_call>,
                                         &without_message<std::bad_optional_access>,
                                         &without_message<std::bad_variant_access>,
                                         &without_message<std::bad_weak_ptr>,
                                         &without_message<std::bad_any_cast>,
                                         &system_error_type,
                                         &ios_failure_type,
                                         &future_error_type,
                                         &filesystem_error_type,
                                         &regex_error_type};

// Compared by name: typeid objects of one type may differ between shared libraries, and `key` comes from another process.
const ExceptionType* find_type(std::string_view key) {
  for (const ExceptionType* type = g_registered.first.load(std::memory_order_acquire); type != nullptr;
       type = type->next) {
    if (key == type->type->name()) return type;
  }
  for (const ExceptionType* type : kStandardTypes) {
    if (key == type->type->name()) return type;
  }
  return nullptr;
}

std::string demangled(const char* name) {
  int status = 0;
  char* const text = abi::__cxa_demangle(name, nullptr, nullptr, &status);
  std::string result = status == 0 && text != nullptr ? text : name;
  std::free(text);
  return result;
}

std::string host_name() {
  char name[256] = {};
  return ::gethostname(name, sizeof(name) - 1) == 0 ? name : "localhost";
}

const std::type_info* type_of(const std::exception_ptr& error) { return error.__cxa_exception_type(); }

// Something with a what(), of a type that is not known: the message at least.
void take_what(const std::exception_ptr& error, RemoteFailure& failure) {
  try {
    std::rethrow_exception(error);
  } catch (const std::exception& caught) {
    failure.message = what_text(caught.what());
  } catch (const std::string& text) {
    failure.message = text;
  } catch (const char* text) {
    failure.message = what_text(text);
  } catch (...) {
    failure.message = "(not a std::exception, so it has no text)";
  }
}

// std::throw_with_nested(E) throws a class of the library's own that derives from E and holds the exception that was handled: it
// arrives as E, and what was nested is told.
constexpr std::string_view kNestedBegin = "St17_Nested_exceptionI";
std::string_view without_nesting(std::string_view key) {
  if (!key.starts_with(kNestedBegin) || !key.ends_with('E')) return key;
  return key.substr(kNestedBegin.size(), key.size() - kNestedBegin.size() - 1);
}

void add_causes(const std::exception_ptr& error, std::string& text, int levels = 16) {
  const std::nested_exception* nested = nullptr;
  try {
    std::rethrow_exception(error);
  } catch (const std::nested_exception& caught) {
    nested = &caught;  // lives as long as `error`
  } catch (...) {
    return;
  }
  const std::exception_ptr inner = nested->nested_ptr();
  if (inner == nullptr || levels == 0) return;
  RemoteFailure failure;
  const std::type_info* const type = type_of(inner);
  take_what(inner, failure);
  const std::string name =
      type == nullptr ? "foreign exception" : demangled(std::string(without_nesting(type->name())).c_str());
  text += "\n  caused by " + name + ": " + failure.message;
  add_causes(inner, text, levels - 1);
}

// Whether register_exception can be told of the type: not of int, nor of const char*.
bool is_class(std::string_view key) {
  return !key.empty() && ((key[0] >= '0' && key[0] <= '9') || key[0] == 'N' || key[0] == 'S');
}

// Failures that came here from another task pass on as they are: `code` and type stay those of the first.
bool is_passing_through(const std::exception_ptr& error, std::string_view function, RemoteFailure& failure) {
  try {
    std::rethrow_exception(error);
  } catch (const TaskErrorInfo& info) {
    failure = *info.failure();
    if (!failure.passed_through.empty()) failure.passed_through += ", ";
    failure.passed_through += function;
    return true;
  } catch (const Exception& own) {
    failure.code = own.code();
    failure.message = own.what();
    return true;
  } catch (...) {
    return false;
  }
}

}  // namespace

void register_exception_type(ExceptionType& type) noexcept {
  ExceptionType* first = g_registered.first.load(std::memory_order_relaxed);
  do {
    type.next = first;
  } while (
      !g_registered.first.compare_exchange_weak(first, &type, std::memory_order_release, std::memory_order_relaxed));
}

RemoteFailure describe_current_exception(std::string_view function) {
  const std::exception_ptr error = std::current_exception();
  const std::type_info* const thrown = abi::__cxa_current_exception_type();
  RemoteFailure failure;
  failure.function = function;
  failure.pid = static_cast<std::uint32_t>(::getpid());
  failure.node = host_name();
  if (error == nullptr || thrown == nullptr) {  // thrown by another language
    failure.type = "foreign exception";
    failure.message = "(not a C++ exception, so it has no text)";
    return failure;
  }
  failure.type_key = without_nesting(thrown->name());
  failure.type = demangled(failure.type_key.c_str());
  add_causes(error, failure.caused_by);
  if (const ExceptionType* known = find_type(failure.type_key)) {
    known->take_apart(error, failure);
  } else if (!is_passing_through(error, function, failure)) {
    take_what(error, failure);
  }
  return failure;
}

RemoteFailure call_of_other_class(const FunctionInfo& method, std::string_view class_of_actor) {
  RemoteFailure error;
  error.code = ErrorCode::kInvalidArgument;
  error.function = method.name();
  error.message = "rayx: " + error.function + " is a method of " + std::string(method.class_name()) +
                  ", and the actor is a " + std::string(class_of_actor) + ". Ask for get_actor<" +
                  std::string(class_of_actor) + ">()";
  return error;
}

RemoteFailure actor_died_of_constructor(const RemoteFailure& cause, std::string_view class_name) {
  RemoteFailure died = cause;
  died.code = ErrorCode::kActorDied;
  died.message = "rayx: actor " + std::string(class_name) + " died: its constructor ";
  if (cause.code == ErrorCode::kTaskFailed && cause.function != class_name) {
    died.message += "needed the result of " + cause.function + ", which threw " + cause.type + ": " + cause.message;
  } else if (cause.code == ErrorCode::kTaskFailed) {
    died.message += "threw " + cause.type + ": " + cause.message;
  } else {
    died.message += "could not run: " + cause.message;
  }
  died.message += ". It is not tried again; make a new one with rayx::actor<T>()";
  return died;
}

std::string with_stack(const RemoteFailure& failure) {
  std::string stack = observe::symbolise(observe::decode_frames(failure.stack));
  if (stack.ends_with('\n')) stack.pop_back();
  return stack.empty() ? failure.message : failure.message + "\nIts stack:\n" + stack;
}

void throw_failure(RemoteFailure failure) {
  if (failure.code != ErrorCode::kTaskFailed) throw_error({failure.code, with_stack(failure)});
  if (const ExceptionType* known = find_type(failure.type_key)) known->throw_again(failure);
  std::string text =
      "rayx: task " + failure.function + " threw " + failure.type + ": " + failure.message + failure.caused_by;
  if (is_class(failure.type_key)) {
    text +=
        "\nThe type cannot be rebuilt here: rayx::register_exception<" + failure.type + ">() makes it arrive as itself";
  } else {
    text += "\nOnly classes arrive as themselves; throw one that is derived from std::exception";
  }
  const ErrorCode code = failure.code;
  auto shared = std::make_shared<const RemoteFailure>(std::move(failure));
  throw TaskError({code, std::move(text)}, std::move(shared));
}

void throw_failure(std::span<const std::byte> bytes) { throw_failure(decode_failure(bytes)); }

}  // namespace rayx::detail
