// What is refused, found without an error of the compiler, and for the right reason. Compile-time: it passes if it compiles.
#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <rayx/codec.hpp>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <typeindex>
#include <unordered_set>
#include <variant>
#include <vector>

namespace rayx::codec_test {
namespace {

using codec::Problem;
using codec::problem_of;
using codec::problem_of_parameter;
using std::string;
using std::vector;

struct Pointer {
  int a;
  const char* text;
};
struct Deep {
  std::map<string, vector<std::optional<Pointer>>> map;
};
struct Reference {
  int& r;
  int b;
};
struct Base {
  int a;
};
struct Derived : Base {
  int b;
};
struct DerivedFromVector : vector<int> {
  using vector<int>::vector;
  int more = 0;
};
struct TooMany {
  int a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18, a19, a20, a21, a22, a23, a24,
      a25, a26, a27, a28, a29, a30, a31, a32;
};
struct Virtual {
  virtual ~Virtual() = default;
  template <class Archive>
  friend void rayx_serialize(Archive&, Virtual&) {}
};
struct Final final {
  virtual ~Final() = default;
  template <class Archive>
  friend void rayx_serialize(Archive&, Final&) {}
};
class Unknown {
 public:
  Unknown() : text_("x") {}

 private:
  string text_;
};
struct Stuck {
  explicit Stuck(int) {}
  template <class Archive>
  friend void rayx_serialize(Archive&, Stuck&) {}
};
struct Unmovable {
  Unmovable() = default;
  Unmovable(Unmovable&&) = delete;
  template <class Archive>
  friend void rayx_serialize(Archive&, Unmovable&) {}
};
struct Forward;
union Either {
  int a;
  float b;
};
struct StatefulLess {
  int modulus = 10;
  bool operator()(int a, int b) const { return a % modulus < b % modulus; }
};
struct Recursive {
  vector<Recursive> children;
  std::unique_ptr<Recursive> next;
  std::map<int, Recursive> named;
};
struct RecursivePointer {
  vector<RecursivePointer> children;
  int* bad;
};
struct NoDefault {
  explicit NoDefault(int);
  int value;
};
struct ArrayStuck {
  NoDefault n;
  string names[2];
};
struct OptionalBehind {
  NoDefault n;
  std::optional<int> o;
};

static_assert(problem_of<int>() == Problem::kNone);
static_assert(problem_of<const Recursive>() == Problem::kNone);
static_assert(problem_of<Final>() == Problem::kNone);
static_assert(problem_of<std::unique_ptr<Final>>() == Problem::kNone);
static_assert(problem_of<int*>() == Problem::kPointer);
static_assert(problem_of<std::nullptr_t>() == Problem::kPointer);
static_assert(problem_of<Pointer>() == Problem::kPointer);
static_assert(problem_of<Deep>() == Problem::kPointer);
static_assert(problem_of<RecursivePointer>() == Problem::kPointer);
static_assert(problem_of<vector<int*>>() == Problem::kPointer);
static_assert(problem_of<std::variant<int, string, int*>>() == Problem::kPointer);
static_assert(problem_of<std::unique_ptr<Pointer>>() == Problem::kPointer);
static_assert(problem_of<int&>() == Problem::kReference);
static_assert(problem_of<Reference>() == Problem::kReference);
static_assert(problem_of<std::tuple<int&>>() == Problem::kReference);
static_assert(problem_of<std::string_view>() == Problem::kView);
static_assert(problem_of<std::span<const int>>() == Problem::kView);
static_assert(problem_of<vector<std::string_view>>() == Problem::kView);
static_assert(problem_of<std::pair<int, std::span<int>>>() == Problem::kView);
static_assert(problem_of<std::reference_wrapper<int>>() == Problem::kView);
static_assert(problem_of<std::initializer_list<int>>() == Problem::kView);
static_assert(problem_of<vector<int>::iterator>() == Problem::kView);
static_assert(problem_of<std::map<int, int>::iterator>() == Problem::kView);
static_assert(problem_of<std::error_code>() == Problem::kView);
static_assert(problem_of<std::type_index>() == Problem::kView);
static_assert(problem_of<void (*)()>() == Problem::kFunction);
static_assert(problem_of<int Base::*>() == Problem::kFunction);
static_assert(problem_of<std::function<int()>>() == Problem::kFunction);
static_assert(problem_of<vector<std::function<int()>>>() == Problem::kFunction);
static_assert(problem_of<std::atomic<int>>() == Problem::kAtomic);
static_assert(problem_of<std::atomic_flag>() == Problem::kAtomic);
static_assert(problem_of<std::mutex>() == Problem::kLock);
static_assert(problem_of<std::condition_variable>() == Problem::kLock);
static_assert(problem_of<std::unique_lock<std::mutex>>() == Problem::kLock);
static_assert(problem_of<std::ofstream>() == Problem::kStream);
static_assert(problem_of<std::stringstream>() == Problem::kStream);
static_assert(problem_of<std::unique_ptr<Virtual>>() == Problem::kPolymorphic);
static_assert(problem_of<std::unique_ptr<int[]>>() == Problem::kPointerToArray);
static_assert(problem_of<std::shared_ptr<int[]>>() == Problem::kPointerToArray);
static_assert(problem_of<std::unique_ptr<int, void (*)(int*)>>() == Problem::kDeleter);
static_assert(problem_of<std::set<int, StatefulLess>>() == Problem::kComparator);
static_assert(problem_of<std::set<int, bool (*)(int, int)>>() == Problem::kComparator);
static_assert(problem_of<std::unordered_set<int, std::function<std::size_t(int)>>>() == Problem::kComparator);
static_assert(problem_of<Either>() == Problem::kUnion);
static_assert(problem_of<Derived>() == Problem::kBase);
static_assert(problem_of<vector<Derived>>() == Problem::kBase);
static_assert(problem_of<DerivedFromVector>() != Problem::kNone, "its own members would be lost");
static_assert(problem_of<TooMany>() == Problem::kTooManyMembers);
static_assert(problem_of<OptionalBehind>() == Problem::kHiddenMembers);
static_assert(problem_of<ArrayStuck>() == Problem::kArrayMember);
static_assert(problem_of<Unknown>() == Problem::kClass);
static_assert(problem_of<Stuck>() == Problem::kNoDefault);
static_assert(problem_of<Unmovable>() == Problem::kNotMovable);
static_assert(problem_of<Forward>() == Problem::kIncomplete);
static_assert(problem_of<int[]>() == Problem::kIncomplete);
static_assert(problem_of<void>() == Problem::kVoid);
static_assert(problem_of<std::weak_ptr<int>>() == Problem::kClass);
static_assert(problem_of<std::thread>() != Problem::kNone);
static_assert(!codec::is_encodable_v<int*> && codec::is_encodable_v<string>);

int captured = 3;
constexpr auto kCaptureless = [](int x) { return x; };
static_assert(problem_of<decltype([&x = captured] { return x; })>() == Problem::kClosure);
static_assert(problem_of<decltype([x = 3] { return x; })>() == Problem::kClosure);
static_assert(problem_of<std::remove_const_t<decltype(kCaptureless)>>() == Problem::kNone);

static_assert(problem_of_parameter<int>() == Problem::kNone);
static_assert(problem_of_parameter<const string&>() == Problem::kNone);
static_assert(problem_of_parameter<string&&>() == Problem::kNone);
static_assert(problem_of_parameter<string&>() == Problem::kMutableReference);
static_assert(problem_of_parameter<std::string_view>() == Problem::kNone);
static_assert(problem_of_parameter<std::span<const double>>() == Problem::kNone);
static_assert(problem_of_parameter<const std::span<const Base>&>() == Problem::kNone);
static_assert(problem_of_parameter<std::span<double>>() == Problem::kMutableView);
static_assert(problem_of_parameter<std::span<const string>>() == Problem::kView);
static_assert(problem_of_parameter<std::span<int* const>>() != Problem::kNone);
static_assert(problem_of_parameter<const char*>() == Problem::kPointer);

struct Holder {
  vector<std::optional<std::string>> texts;
};
static_assert(!codec::kMayHoldRefs<Holder> && !codec::kMayHoldRefs<Recursive> && codec::kMayHoldRefs<vector<Final>>);

TEST(CodecProblems, CompileTimeOnly) { EXPECT_TRUE((codec::is_encodable_v<Recursive>)); }

}  // namespace
}  // namespace rayx::codec_test
